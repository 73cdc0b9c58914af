/// A workflow as text: level by level, each step with what it needs.
public struct GraphText: Sendable {
    /// Steps shown of one level; the rest is counted.
    public var stepsPerLevel: Int
    /// Needs named for one step; the rest is counted.
    public var needsPerStep = 4

    public init(stepsPerLevel: Int = 20) {
        self.stepsPerLevel = stepsPerLevel
    }

    /// - Parameters:
    ///   - graph: What to show.
    ///   - mark: How a step stands in a run.
    public func render(_ graph: StepGraph, mark: (Int) -> StepMark? = { _ in nil }) -> String {
        let rows = graph.rows
        let widest = rows.map(\.count).max() ?? 0
        var lines = [
            "\(graph.name)  \(counted(graph.steps.count, "step")), \(counted(graph.edgeCount, "edge")), "
                + "\(counted(rows.count, "level")), at most \(widest) side by side"
        ]
        let margin = String(rows.count).count
        for (level, row) in rows.enumerated() {
            let shown = row.prefix(stepsPerLevel)
            let width = min(shown.map { graph.steps[$0].key.count }.max() ?? 0, 48)
            for (place, step) in shown.enumerated() {
                let number = place == 0 ? String(level + 1) : ""
                lines.append("\(pad(number, margin, onLeft: true))  \(line(graph, step, width, mark(step)))")
            }
            if row.count > shown.count {
                lines.append("\(pad("", margin))  … and \(row.count - shown.count) more")
            }
        }
        return lines.joined(separator: "\n")
    }

    private func line(_ graph: StepGraph, _ step: Int, _ width: Int, _ mark: StepMark?) -> String {
        let needs = graph.needs[step]
        var line = pad(graph.steps[step].key, width)
        if let mark { line += "  \(pad(mark.state, 9))" }
        if !graph.steps[step].handler.isEmpty { line += "  \(pad(graph.steps[step].handler, 6))" }
        if !needs.isEmpty {
            let named = needs.prefix(needsPerStep).map { graph.steps[$0].key }.joined(separator: ", ")
            let more = needs.count > needsPerStep ? " and \(needs.count - needsPerStep) more" : ""
            line += "  needs \(named)\(more)"
        }
        let traits = graph.steps[step].traits.map(\.phrase) + [mark?.note].compactMap(\.self)
        for trait in traits { line += "  [\(trait)]" }
        while line.last == " " { line.removeLast() }
        return line
    }

    private func counted(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    private func pad(_ text: String, _ width: Int, onLeft: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return onLeft ? space + text : text + space
    }
}
