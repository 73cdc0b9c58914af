import ArgumentParser
import Millrace

struct Retry: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Try the failed steps of a run again, and what hung on them."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64

    @Argument(help: "The key of one failed step; all of them where left out.")
    var step: String?

    private struct Answer: Encodable {
        var runId: Int64
        var steps: Int
    }

    func run() async throws {
        try await options.withClient { client in
            let steps = try await client.retry(runID, key: step)
            options.output.answer(
                Answer(runId: runID, steps: steps),
                "\(Spell.count(steps, "step")) of run \(runID) will be tried again."
            )
        }
    }
}
