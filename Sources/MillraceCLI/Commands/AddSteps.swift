import ArgumentParser
import Millrace

struct AddSteps: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Add steps to a run that has not ended.",
        discussion: """
            The file has steps as a definition has them, whose needs may name steps of the run, and edges: what \
            pending steps of the run need from now on. {"steps": [...], "edges": {"OLD": ["KEY"]}}
            """
    )

    @OptionGroup var subject: RunOptions

    @Argument(help: "What is added: JSON or YAML.", completion: .file())
    var file: String

    private struct Answer: Encodable {
        var runId: Int64
        var steps: [AddedStep]
    }

    func run() async throws {
        let growth = try WorkflowDefinition.load(file)
        try await options.withClient { client in
            let steps = try await client.addSteps(runID, json: growth.json)
            let table = Table(
                columns: [.number("STEP"), .text("KEY"), .state("STATE")],
                rows: steps.map { [String($0.stepNo), $0.key, $0.state] }
            )
            options.output.answer(
                Answer(runId: runID, steps: steps),
                steps.isEmpty
                    ? "Run \(runID) has new edges." : table.render(for: options.output.terminal)
            )
        }
    }
}
