import ArgumentParser
import Millrace

struct Pause: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Hand out nothing more of a run for now; what runs goes on."
    )

    @OptionGroup var subject: RunOptions

    func run() async throws {
        try await options.withClient { client in
            try await client.pause(runID)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "Run \(runID) is \(summary.state).")
        }
    }
}
