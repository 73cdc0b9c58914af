import ArgumentParser
import Millrace

struct Resume: RunCommand {
    static let configuration = CommandConfiguration(abstract: "Let a paused run go on.")

    @OptionGroup var subject: RunOptions

    func run() async throws {
        try await options.withClient { client in
            try await client.resume(runID)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "Run \(runID) is \(summary.state).")
        }
    }
}
