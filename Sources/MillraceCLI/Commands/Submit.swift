import ArgumentParser
import Millrace

struct Submit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Start a run of a workflow.")

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var input: InputOptions

    @Argument(help: "The workflow's name.")
    var workflow: String

    @Option(name: .customLong("workflow-version"), help: "Its version; the latest where left out.")
    var version: Int?

    @Option(help: "Lower goes first.")
    var priority = 0

    @Option(help: "Whose run it is.")
    var tenant = ""

    @Option(help: "A key that starts the run once, however often it is submitted.")
    var idempotencyKey: String?

    @Flag(help: "Watch the run until it ends.")
    var watch = false

    private struct Answer: Encodable { var runId: Int64 }

    func run() async throws {
        var submission = Submission(workflow: workflow, input: try input.value())
        submission.version = version
        submission.priority = priority
        submission.tenant = tenant
        submission.idempotencyKey = idempotencyKey
        try await options.withClient { [submission] client in
            let run = try await client.submit(submission)
            guard watch else { return options.output.answer(Answer(runId: run), "\(run)") }
            let ended = try await RunWatcher(client: client, run: run, output: options.output).watch()
            try await RunReport.give(ended, client, options.output)
        }
    }
}
