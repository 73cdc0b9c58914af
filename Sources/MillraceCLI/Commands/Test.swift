import ArgumentParser
import Millrace

struct Test: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Execute a definition with given handler outputs, and compare what comes of it with what is expected.",
        discussion: """
            The engine is the real one, in a database of its own on the server, dropped afterwards; time jumps to \
            whatever is due next. Starts the embedded database unless another one is named. Ends with 1 where an \
            expectation does not hold, or the run does not end although it is not said how it ends.
            """
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var definition: DefinitionOptions

    @Option(help: ArgumentHelp("What handlers answer and what is expected: JSON or YAML.", valueName: "file"))
    var mocks: String?

    func run() async throws {
        let definitions = try definition.load()
        var script = try mocks.map { (file) throws(MillraceError) in try RehearsalScript(file: file) } ?? RehearsalScript()
        let server = try await options.configurationStartingEmbedded()
        script.workflows += definitions.dropLast()
        let rehearsal = Rehearsal(definitions.last!, script: script)
        // A signal must not leave the database behind.
        let report = try await Interruptible.run { try await rehearsal.run(on: server) }
        options.output.answer(report, text(report))
        let expectsNothing = script.expectation.run == nil
        if !report.passed || (expectsNothing && !report.isOver) { throw ExitStatus.failed }
    }

    private func text(_ report: RehearsalReport) -> String {
        let terminal = options.output.terminal
        var path = Table(columns: [
            .number("at"), .text("step"), .number("try"), .state("ended"), .number("after"), .text("input", limit: 60),
            .text("error"),
        ])
        for start in report.starts {
            path.rows.append([
                Spell.seconds(start.at), start.step, "\(start.attempt)", start.outcome ?? "-",
                start.endedAt.map { Spell.seconds($0 - start.at) } ?? "-", start.input?.json ?? "", start.error ?? "",
            ])
        }
        var states = Table(columns: [.text("step"), .state("state"), .number("tries"), .text("output", limit: 60)])
        for step in report.steps {
            states.rows.append([
                step.key, step.state, "\(step.attempts)", step.reason ?? step.error ?? step.output?.json ?? "",
            ])
        }
        var lines = [path.render(for: terminal), "", states.render(for: terminal), ""]
        lines.append("\(report.workflow): \(terminal.state(report.state)) after \(Spell.seconds(report.seconds))")
        lines += report.violations.map { "\(terminal.style("not as expected:", .red)) \($0)" }
        return lines.joined(separator: "\n")
    }
}
