import ArgumentParser
import Foundation
import Millrace

struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Explain a workflow: the order of its steps, levels, paths, slack, and the critical path.",
        discussion: """
            A file is explained as the database would understand it; it is defined in a transaction that is rolled back. \
            Durations are those of earlier runs where there are some, else what the definition expects.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "A definition file, or the name of a stored workflow.")
    var subject: String

    @Option(help: "What the file holds: millrace or wfformat.")
    var format = DefinitionFormat.millrace

    @Option(name: .customLong("workflow-version"), help: "Of a stored workflow; else the latest.")
    var version: Int?

    @Option(help: ArgumentHelp("List all that this step waits for, and all that waits for it.", valueName: "key"))
    var step: String?

    @Option(help: "Steps shown; the rest is counted.")
    var limit = 100

    func run() async throws {
        let explanation = try await explain()
        options.output.answer(explanation, text(explanation))
    }

    private func explain() async throws -> WorkflowExplanation {
        guard FileManager.default.fileExists(atPath: subject) else {
            return try await options.withClient { client in
                try await client.explain(subject, version: version, pathsOf: step)
            }
        }
        let definition = try WorkflowDefinition.load(subject, format: format)
        return try await options.withClient { client in try await client.explain(definition, pathsOf: step) }
    }

    private func text(_ explanation: WorkflowExplanation) -> String {
        let steps = explanation.steps
        let edges = steps.reduce(0) { $0 + $1.needs.count }
        let measured = steps.count { $0.measured }
        var lines = [
            "\(explanation.workflow) version \(explanation.version): \(Spell.count(steps.count, "step")), "
                + "\(Spell.count(edges, "edge")), \(Spell.count(explanation.levels, "level"))",
            "Critical path: \(shorten(explanation.criticalPath)), \(Spell.seconds(explanation.criticalSeconds)) "
                + "of \(Spell.seconds(explanation.totalSeconds)) in all; durations "
                + (measured == 0
                    ? "as expected" : measured == steps.count ? "as measured" : "measured of \(measured) steps"),
            "",
            table(steps.prefix(limit)),
        ]
        if steps.count > limit { lines.append("… and \(Spell.count(steps.count - limit)) more") }
        if let paths = explanation.paths {
            lines += [
                "", "\(paths.key) waits for \(list(paths.ancestors))", "\(paths.key) is waited for by \(list(paths.descendants))",
            ]
        }
        return lines.joined(separator: "\n")
    }

    private func table(_ steps: some Sequence<ExplainedStep>) -> String {
        var table = Table(columns: [
            .number("starts"), .number("takes"), .number("slack"), .number("level"), .text("step"), .number("waits for"),
            .number("waited for by"), .number("falls with it"), .text("needs"),
        ])
        for step in steps {
            table.rows.append([
                Spell.seconds(step.earliest), Spell.seconds(step.seconds),
                step.critical ? "critical" : Spell.seconds(step.slack), "\(step.level + 1)", step.key,
                step.ancestors.map { "\($0)" } ?? "-", step.descendants.map { "\($0)" } ?? "-",
                step.falls.map { "\($0)" } ?? "-", step.needs.joined(separator: ", "),
            ])
        }
        return table.render(for: options.output.terminal)
    }

    /// A long path by its ends.
    private func shorten(_ path: [String]) -> String {
        let shown = path.count > 12 ? path.prefix(6) + ["…"] + path.suffix(5) : path[...]
        return shown.joined(separator: " → ")
    }

    private func list(_ keys: [String]) -> String {
        keys.isEmpty ? "nothing" : "\(Spell.count(keys.count, "step")): \(keys.joined(separator: ", "))"
    }
}
