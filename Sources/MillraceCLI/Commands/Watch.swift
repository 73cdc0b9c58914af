import ArgumentParser
import Millrace

struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how a run goes on, until it ends.",
        discussion: "Ends with code 1 where the run failed or was cancelled."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64

    func run() async throws {
        try await options.withClient { client in
            let ended = try await RunWatcher(client: client, run: runID, output: options.output).watch()
            try await RunReport.give(ended, client, options.output)
        }
    }
}
