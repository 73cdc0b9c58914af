import ArgumentParser
import Foundation
import Millrace

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the queues and agents, a run, or what keeps a step.",
        discussion:
            "Without a run: all queues and agents. With a run: its steps. With a step's key: why it is not ready."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64?

    @Argument(help: "The step's key.")
    var step: String?

    @Option(help: "At most so many steps.")
    var limit = 50

    func run() async throws {
        try await options.withClient { client in
            switch (runID, step) {
            case (let runID?, let step?): try await explain(runID, step, client)
            case (let runID?, nil): try await show(runID, client)
            default: try await overview(client)
            }
        }
    }

    // MARK: All

    private struct Overview: Encodable {
        var queues: [QueueSummary]
        var agents: [AgentSummary]
    }

    private func overview(_ client: Client) async throws {
        let overview = Overview(queues: try await client.queues(), agents: try await client.agents())
        let queues = Table(
            columns: [
                .text("QUEUE"), .text("HANDLER"), .number("WAITING"), .number("OLDEST"), .number("RUNNING"),
                .number("AGENTS"),
            ],
            rows: overview.queues.map {
                [
                    $0.queue, $0.handler, Spell.count($0.depth), Spell.age($0.oldestAge), Spell.count($0.running),
                    "\($0.agents)",
                ]
            }
        )
        let agents = Table(
            columns: [
                .number("AGENT"), .text("NAME", limit: 40), .state("STATE"), .number("HOLDS"),
                .text("QUEUES", limit: 30),
                .text("HANDLERS", limit: 40),
            ],
            rows: overview.agents.map {
                [
                    "\($0.agentId)", $0.name ?? "", $0.state, Spell.count($0.held), $0.queues.joined(separator: " "),
                    $0.handlers.joined(separator: " "),
                ]
            }
        )
        let parts = [
            overview.queues.isEmpty ? "No queues." : queues.render(for: .output),
            overview.agents.isEmpty ? "No agents." : agents.render(for: .output),
        ]
        options.output.answer(overview, parts.joined(separator: "\n\n"))
    }

    // MARK: A run

    private struct RunStatus: Encodable {
        var run: RunProgress
        var steps: [StepSummary]
        var criticalPath: [PathStep]
    }

    private func show(_ run: Int64, _ client: Client) async throws {
        let progress = try await client.progress(run)
        let steps = try await client.steps(of: run, limit: limit)
        let table = Table(
            columns: [
                .text("STEP", limit: 48), .state("STATE"), .text("HANDLER"), .number("TRIES"), .number("TOOK"),
                .text("ERROR", limit: 60),
            ],
            rows: steps.map {
                [$0.key, $0.state, $0.handler, "\($0.attempts)", Spell.age($0.elapsed), $0.error ?? ""]
            }
        )
        var lines = [
            "\(progress.workflow) run \(run) \(progress.state): \(Spell.count(progress.completed)) of "
                + "\(Spell.count(progress.steps, "step")) completed, \(progress.running) running, \(progress.failed) failed"
        ]
        if let left = progress.remainingSeconds, !progress.isOver { lines.append("About \(Spell.seconds(left)) left.") }
        let path = try await client.criticalPath(run)
        if path.count > 1 { lines.append(Self.line(path)) }
        lines += ["", table.render(for: .output)]
        if progress.steps > steps.count {
            lines.append("… and \(Spell.count(progress.steps - steps.count)) more (--limit)")
        }
        options.output.answer(RunStatus(run: progress, steps: steps, criticalPath: path), lines.joined(separator: "\n"))
    }

    private static func line(_ path: [PathStep]) -> String {
        let seconds = path.reduce(0) { $0 + $1.seconds }
        let named =
            path.count > 6
            ? path.prefix(3).map(\.key) + ["…"] + path.suffix(2).map(\.key)
            : path.map(\.key)
        return "Critical path of \(Spell.count(path.count, "step")), \(Spell.seconds(seconds)): "
            + named.joined(separator: " → ")
    }

    // MARK: A step

    private struct Explanation: Encodable {
        var runId: Int64
        var key: String
        var reason: String
        var data: JSONValue
        /// Steps that could not complete any more if this one failed.
        var affects: [String]
    }

    private func explain(_ run: Int64, _ key: String, _ client: Client) async throws {
        let why = try await client.whyNotReady(run, key: key)
        let affects = try await client.affectedBy(run, key: key).map(\.key)
        var lines = [why.reason]
        if !affects.isEmpty {
            let named = affects.prefix(5).joined(separator: ", ") + (affects.count > 5 ? ", …" : "")
            lines.append("If it fails, \(Spell.count(affects.count, "step")) fall with it: \(named)")
        }
        options.output.answer(
            Explanation(runId: run, key: key, reason: why.reason, data: why.data, affects: affects),
            lines.joined(separator: "\n")
        )
    }
}
