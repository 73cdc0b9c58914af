import ArgumentParser
import Millrace

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "End a run: nothing more of it is started.")

    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64

    @Option(help: "Why; kept in the log.")
    var reason: String?

    func run() async throws {
        try await options.withClient { client in
            try await client.cancel(runID, reason: reason)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "Run \(runID) is \(summary.state).")
        }
    }
}
