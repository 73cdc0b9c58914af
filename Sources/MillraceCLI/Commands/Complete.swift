import ArgumentParser
import Millrace

struct Complete: RunCommand {
    static let configuration = CommandConfiguration(abstract: "Answer a step that waits for a person.")

    @OptionGroup var subject: RunOptions

    @Argument(help: "The step's key.")
    var step: String

    @Option(help: ArgumentHelp("The answer; it must fit what the step asks for.", valueName: "json"))
    var answer: String?

    @Option(help: "Who answers; the database role where left out.")
    var by: String?

    func run() async throws {
        let value = try answer.map { try JSONValue(json: $0) }
        try await options.withClient { client in
            try await client.completeHumanStep(runID, key: step, answer: value, completedBy: by)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "\(step) is answered; run \(runID) is \(summary.state).")
        }
    }
}
