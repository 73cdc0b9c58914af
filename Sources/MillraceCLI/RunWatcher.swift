import Foundation
import Millrace

/// Shows how a run goes on, until it is over.
struct RunWatcher: Sendable {
    let client: Client
    let run: Int64
    let output: Output

    /// How long a database may be away before watching ends.
    private static let patience = Duration.seconds(60)

    /// - Returns: The run as it ended.
    func watch() async throws -> RunSummary {
        var picture = Picture(output.terminal)
        var shown: RunProgress?
        while true {
            let asked = ContinuousClock.now
            let progress = try await answer { () async throws(MillraceError) in try await client.progress(run) }
            if progress.isOver { break }
            if output.terminal.isInteractive {
                let running = try await answer { () async throws(MillraceError) in
                    try await client.steps(of: run, states: ["running"], limit: 5)
                }
                picture.draw(lines(progress, running))
            } else if progress != shown, let line = line(progress, after: shown) {
                output.say(line)
            }
            shown = progress
            // Looking costs the server more, the larger the run is: it gets nine tenths of the time for itself.
            let pause = max(.milliseconds(output.terminal.isInteractive ? 150 : 100), (ContinuousClock.now - asked) * 9)
            try await Task.sleep(for: pause)
        }
        picture.erase()
        return try await client.run(run)
    }

    /// Repeats a question while the database is away, for as long as it may be.
    private func answer<Answer>(_ question: () async throws(MillraceError) -> Answer) async throws -> Answer {
        let start = ContinuousClock.now
        var told = false
        while true {
            do {
                return try await question()
            } catch {
                let isAway = error.isRetriable || error.isConnectionLoss
                guard isAway, ContinuousClock.now - start < Self.patience else { throw error }
                if !told { output.say("The database is away; waiting for it.") }
                told = true
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    // MARK: On a terminal

    private func lines(_ progress: RunProgress, _ running: [StepSummary]) -> [String] {
        let terminal = output.terminal
        let width = min(terminal.columns, 100)
        let bar = ProgressBar(width: max(10, width - 34))
            .render(
                done: progress.fractionDone,
                running: Double(progress.running) / Double(max(progress.steps, 1)),
                terminal: terminal
            )
        let percent = String(format: "%3d %%", Int(progress.fractionDone * 100))
        let remaining = progress.remainingSeconds.map { "  about \(Spell.seconds($0)) left" } ?? ""
        var lines = [
            "\(terminal.style(progress.workflow, .bold)) run \(run)  \(terminal.state(progress.state))",
            "\(bar) \(percent)\(terminal.style(remaining, .dim))",
            counts(progress),
        ]
        for step in running {
            let since = step.startedAt.map { Spell.seconds(Date().timeIntervalSince($0)) } ?? ""
            let text = "  \(step.key.prefix(width - 24))  \(since)\(how(step))"
            lines.append(terminal.style(text, .cyan))
        }
        if progress.running > running.count {
            lines.append(terminal.style("  and \(Spell.count(progress.running - running.count)) more", .dim))
        }
        return lines
    }

    /// What the step says of itself.
    private func how(_ step: StepSummary) -> String {
        let percent = step.progress.map { String(format: "  %d %%", Int($0 * 100)) } ?? ""
        return percent + (step.progressMessage.map { "  \($0.prefix(60))" } ?? "")
    }

    private func counts(_ progress: RunProgress) -> String {
        let counts = [
            ("completed", progress.completed), ("running", progress.running), ("ready", progress.ready),
            ("waiting", progress.waiting), ("pending", progress.pending), ("failed", progress.failed),
            ("skipped", progress.skipped), ("cancelled", progress.cancelled),
        ]
        return counts.filter { $0.1 > 0 }
            .map { output.terminal.state($0.0) + " " + Spell.count($0.1) }.joined(separator: "  ")
    }

    // MARK: In a pipe

    /// A line where something has changed that is worth one; many steps end between two looks.
    private func line(_ progress: RunProgress, after shown: RunProgress?) -> String? {
        let over = progress.completed + progress.failed + progress.skipped + progress.cancelled
        let before = shown.map { $0.completed + $0.failed + $0.skipped + $0.cancelled }
        guard over != before || progress.state != shown?.state else { return nil }
        var line = "run \(run) \(progress.state): \(over) of \(progress.steps) steps, \(progress.running) running"
        if progress.failed > 0 { line += ", \(progress.failed) failed" }
        if let remaining = progress.remainingSeconds { line += ", about \(Spell.seconds(remaining)) left" }
        return line
    }
}

/// How a run ended, for programs and for people.
struct RunReport: Encodable {
    var runId: Int64
    var workflow: String
    var state: String
    var steps: Int
    var completed: Int
    var failed: Int
    var skipped: Int
    var cancelled: Int
    var seconds: Double?

    init(_ run: RunSummary) {
        runId = run.runId
        workflow = run.workflow
        state = run.state
        steps = run.steps
        completed = run.completed
        failed = run.failed
        skipped = run.skipped
        cancelled = run.cancelled
        seconds = run.seconds
    }

    /// Says how the run ended and, where it failed, which steps did and why.
    static func give(_ run: RunSummary, _ client: Client, _ output: Output) async throws {
        let failed = run.state == "failed" ? try await client.steps(of: run.runId, states: ["failed"], limit: 10) : []
        output.answer(RunReport(run), text(run, failed, output.terminal))
        if run.state != "completed" { throw ExitStatus.failed }
    }

    private static func text(_ run: RunSummary, _ failed: [StepSummary], _ terminal: Terminal) -> String {
        var counts = Spell.count(run.steps, "step")
        for (count, word) in [(run.failed, "failed"), (run.skipped, "skipped"), (run.cancelled, "cancelled")]
        where count > 0 {
            counts += ", \(Spell.count(count)) \(word)"
        }
        let took = run.seconds.map { " in \(Spell.seconds($0))" } ?? ""
        var lines = [
            "\(terminal.style(run.workflow, .bold)) run \(run.runId) \(terminal.state(run.state)): \(counts)\(took)"
        ]
        for step in failed {
            let error = step.error.map { ": \($0)" } ?? ""
            lines.append("  \(terminal.style(step.key, .red))\(error)")
        }
        if run.failed > failed.count, !failed.isEmpty { lines.append("  and \(run.failed - failed.count) more") }
        if run.state == "failed" { lines.append("Try them again with: millrace retry \(run.runId)") }
        return lines.joined(separator: "\n")
    }
}
