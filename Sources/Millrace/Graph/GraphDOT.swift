/// A workflow in Graphviz' language.
public struct GraphDOT: Sendable {
    public init() {}

    /// - Parameters:
    ///   - graph: What to show.
    ///   - state: The state of a step in a run, which gives it a colour.
    public func render(_ graph: StepGraph, state: (Int) -> String? = { _ in nil }) -> String {
        var lines = [
            "digraph \(quote(graph.name)) {",
            "  rankdir=LR;",
            "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"Helvetica\"];",
        ]
        for (number, step) in graph.steps.enumerated() {
            var attributes: [String] = []
            if !step.handler.isEmpty { attributes.append("tooltip=\(quote(step.handler))") }
            if let colour = state(number).flatMap({ Self.colours[$0] }) {
                attributes.append("fillcolor=\(quote(colour))")
            }
            let suffix = attributes.isEmpty ? "" : " [\(attributes.joined(separator: ", "))]"
            lines.append("  \(quote(step.key))\(suffix);")
        }
        for (number, needs) in graph.needs.enumerated() {
            for need in needs {
                lines.append("  \(quote(graph.steps[need].key)) -> \(quote(graph.steps[number].key));")
            }
        }
        lines.append("}")
        return lines.joined(separator: "\n")
    }

    private static let colours = [
        "ready": "#fff3c4", "running": "#cfe5ff", "waiting": "#e8dcff", "completed": "#cdeccd", "failed": "#f8cccc",
        "skipped": "#eeeeee", "cancelled": "#dddddd",
    ]

    private func quote(_ text: String) -> String {
        var quoted = "\""
        for character in text {
            switch character {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            default: quoted.append(character)
            }
        }
        return quoted + "\""
    }
}
