import ArgumentParser
import Foundation
import Millrace

struct Graph: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Draw a workflow: a definition file, one that is stored, or a run with its states.",
        discussion: """
            As text level by level, in Graphviz' language, or as a picture that Graphviz' program dot draws: \
            millrace graph order.yaml --as svg > order.svg
            """
    )

    enum Form: String, ExpressibleByArgument, CaseIterable {
        case text
        case dot
        case svg
    }

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "A definition file, the name of a stored workflow, or a run's id.")
    var subject: String

    @Option(help: "What the file holds: a definition of Millrace's, or a workflow that import takes.")
    var format = DefinitionFormat.millrace

    @Option(name: .customLong("as"), help: "text, dot or svg.")
    var form = Form.text

    @Option(help: "As text: steps shown of one level.")
    var perLevel = 20

    private struct Answer: Encodable {
        var workflow: String
        var steps: Int
        var edges: Int
        var levels: Int
        var widest: Int
    }

    func run() async throws {
        let (graph, marks) = try await load()
        let drawn =
            switch form {
            case .text: GraphText(stepsPerLevel: perLevel).render(graph) { marks?[$0] }
            case .dot: GraphDOT().render(graph) { marks?[$0] }
            case .svg: try await GraphSVG().render(dot: GraphDOT().render(graph) { marks?[$0] })
            }
        let rows = graph.rows
        let answer = Answer(
            workflow: graph.name,
            steps: graph.steps.count,
            edges: graph.edgeCount,
            levels: rows.count,
            widest: rows.map(\.count).max() ?? 0
        )
        options.output.answer(answer, drawn)
    }

    private func load() async throws -> (graph: StepGraph, marks: [StepMark]?) {
        if FileManager.default.fileExists(atPath: subject) {
            return (try StepGraph(WorkflowDefinition.load(subject, format: format)), nil)
        }
        guard !subject.contains("/"), !subject.hasSuffix(".yaml"), !subject.hasSuffix(".json") else {
            throw MillraceError(.unreadable, "\(subject): There is no such file.")
        }
        return try await options.withClient { client in
            guard let run = Int64(subject) else {
                return (try StepGraph(await client.definition(of: subject)), nil)
            }
            let (graph, marks) = try await client.graph(of: run)
            return (graph, marks)
        }
    }
}
