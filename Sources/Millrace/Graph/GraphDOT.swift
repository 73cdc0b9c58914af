/// A workflow in Graphviz' language.
///
/// A step with conditions has a dashed border, one for each element of an array stands in a pile, a run of another
/// workflow is a folder, a wait a hexagon. The way to a step that takes over after a failure is red and dashed.
public struct GraphDOT: Sendable {
    public init() {}

    /// - Parameters:
    ///   - graph: What to show.
    ///   - mark: How a step stands in a run; its state gives it a colour.
    public func render(_ graph: StepGraph, mark: (Int) -> StepMark? = { _ in nil }) -> String {
        var lines = [
            "digraph \(quote(graph.name)) {",
            "  rankdir=LR;",
            "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"Helvetica\"];",
            "  edge [fontname=\"Helvetica\", fontsize=10];",
        ]
        var last: [String] = []
        for (number, step) in graph.steps.enumerated() {
            let attributes = attributes(of: step, mark(number))
            let suffix = attributes.isEmpty ? "" : " [\(attributes.joined(separator: ", "))]"
            let line = "\(quote(step.key))\(suffix);"
            if step.isFinal { last.append("    \(line)") } else { lines.append("  \(line)") }
        }
        if !last.isEmpty {
            lines += ["  subgraph cluster_finally {", "    label=finally; style=dashed; fontname=\"Helvetica\";"]
            lines += last + ["  }"]
        }
        for (number, needs) in graph.needs.enumerated() {
            for need in needs { lines.append("  \(edge(graph.steps[need], graph.steps[number]))") }
        }
        lines.append("}")
        return lines.joined(separator: "\n")
    }

    private func attributes(of step: WorkflowDefinition.Step, _ mark: StepMark?) -> [String] {
        var attributes: [String] = []
        if !step.handler.isEmpty { attributes.append("tooltip=\(quote(step.handler))") }
        // What the shape says already, or another edge, needs no words; `finally` has its frame.
        let words = step.traits.filter { ![.onError, .finally].contains($0.name) }.map { shorten($0.phrase) }
        let below = words + [mark?.note].compactMap(\.self)
        if !below.isEmpty { attributes.append("label=\(quote(([step.key] + below).joined(separator: "\n")))") }
        let names = Set(step.traits.map(\.name))
        if names.contains(.workflow) {
            attributes.append("shape=folder")
        } else if names.contains(.waitFor) {
            attributes.append("shape=hexagon")
        } else if names.contains(.forEach) {
            attributes.append("shape=box3d")
        }
        if names.contains(.when) { attributes.append("style=\"rounded,filled,dashed\"") }
        if let colour = mark.flatMap({ Self.colours[$0.state] }) { attributes.append("fillcolor=\(quote(colour))") }
        return attributes
    }

    private func edge(_ from: WorkflowDefinition.Step, _ to: WorkflowDefinition.Step) -> String {
        let way = "\(quote(from.key)) -> \(quote(to.key))"
        return from.errorHandler == to.key ? "\(way) [color=red, style=dashed, label=\"on error\"];" : "\(way);"
    }

    private static let colours = [
        "ready": "#fff3c4", "running": "#cfe5ff", "waiting": "#e8dcff", "completed": "#cdeccd", "failed": "#f8cccc",
        "skipped": "#eeeeee", "cancelled": "#dddddd",
    ]

    private func shorten(_ text: String) -> String {
        text.count > 60 ? text.prefix(59) + "…" : text
    }

    private func quote(_ text: String) -> String {
        var quoted = "\""
        for character in text {
            switch character {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case _ where character.isNewline: quoted += "\\n"
            default: quoted.append(character)
            }
        }
        return quoted + "\""
    }
}
