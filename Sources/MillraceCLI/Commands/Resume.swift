import ArgumentParser
import Millrace

struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a paused run go on.")

    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64

    func run() async throws {
        try await options.withClient { client in
            try await client.resume(runID)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "Run \(runID) is \(summary.state).")
        }
    }
}
