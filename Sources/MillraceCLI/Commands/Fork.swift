import ArgumentParser
import Millrace

struct Fork: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a run that keeps what another one had done, but for one step and all below it."
    )

    @OptionGroup var subject: RunOptions

    @Argument(help: "The key of the step from which on all runs again.")
    var step: String

    @Flag(help: "Watch the new run until it ends.")
    var watch = false

    private struct Answer: Encodable { var runId: Int64 }

    func run() async throws {
        try await options.withClient { client in
            let run = try await client.fork(runID, from: step)
            guard watch else { return options.output.answer(Answer(runId: run), "\(run)") }
            let ended = try await RunWatcher(client: client, run: run, output: options.output).watch()
            try await RunReport.give(ended, client, options.output)
        }
    }
}
