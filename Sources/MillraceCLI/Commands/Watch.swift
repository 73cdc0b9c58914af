import ArgumentParser
import Millrace

struct Watch: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how a run goes on, until it ends.",
        discussion: "Ends with code 1 where the run failed or was cancelled."
    )

    @OptionGroup var subject: RunOptions

    func run() async throws {
        try await options.withClient { client in
            let ended = try await RunWatcher(client: client, run: runID, output: options.output).watch()
            try await RunReport.give(ended, client, options.output)
        }
    }
}
