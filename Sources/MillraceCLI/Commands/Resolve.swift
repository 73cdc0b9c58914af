import ArgumentParser
import Foundation
import Millrace

struct Resolve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a failed step count as completed.",
        discussion: "The run goes on with what hung on it."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64

    @Argument(help: "The step's key.")
    var step: String

    @Option(help: ArgumentHelp("What the step should have answered.", valueName: "json"))
    var output: String?

    @Option(help: "Who says so; the database role where left out.")
    var by: String?

    @Option(help: "Why; kept in the log.")
    var reason: String?

    func run() async throws {
        let value = try output.map { try JSONValue(json: $0) }
        try await options.withClient { client in
            try await client.resolve(runID, key: step, output: value, resolvedBy: by, reason: reason)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "\(step) counts as completed; run \(runID) is \(summary.state).")
        }
    }
}
