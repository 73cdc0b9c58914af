import ArgumentParser
import Foundation
import Millrace
import MillraceAgent

struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Replay a recorded workflow and compare with what is possible.",
        discussion: """
            Each step sleeps as long as it was recorded to run, times the scale. Besides the makespan it checks by the log \
            of events that each step ran once and none before its needs.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "A recorded run in WfFormat.", completion: .file())
    var file: String

    @Option(help: "Steps in execution at once.")
    var workers = 8

    @Option(help: ArgumentHelp("What recorded runtimes are multiplied with.", valueName: "factor"))
    var timeScale = 1.0

    func validate() throws {
        guard 1...10_000 ~= workers else { throw ValidationError("--workers must lie between 1 and 10,000.") }
    }

    struct Figures: Encodable {
        var workflow: String
        var workers: Int
        var steps: Int
        var makespan: Double
        /// No schedule can be shorter.
        var lowerBound: Double
        /// What the same order of steps takes where handing out costs nothing.
        var schedule: Double
        var executedOnce: Bool
        var inOrder: Bool
    }

    func run() async throws {
        let definition = try WorkflowDefinition.load(file, format: .wfformat, timeScale: timeScale)
        let graph = try StepGraph(definition)
        let durations = definition.steps.map { $0.expected ?? 0 }
        let ideal = ListSchedule(graph, durations: durations, workers: workers)
        let database = try await options.configurationStartingEmbedded()
        try await Client.with(database) { client in
            try await client.installation().check()
            let defined = try await client.define(definition)
            var submission = Submission(workflow: defined.workflow)
            submission.version = defined.version
            var agent = AgentConfiguration()
            agent.concurrency.total = workers
            let run = try await AgentCrew(1, configuration: agent, database: database).work { [submission] in
                try await client.warmUp()
                let run = try await client.submit(submission)
                _ = try await RunWatcher(client: client, run: run, output: options.output).watch()
                return run
            }

            let account = ReplayAccount(
                try await client.allEvents(of: run),
                steps: try await client.steps(of: run),
                graph
            )
            let figures = Figures(
                workflow: defined.workflow,
                workers: workers,
                steps: graph.steps.count,
                makespan: account.makespan,
                lowerBound: ideal.lowerBound,
                schedule: ideal.makespan,
                executedOnce: account.executedOnce,
                inOrder: account.inOrder
            )
            options.output.answer(figures, Self.text(figures))
            guard account.executedOnce, account.inOrder else { throw ExitStatus.failed }
        }
    }

    private static func text(_ figures: Figures) -> String {
        """
        \(figures.workflow) with \(Spell.count(figures.workers, "worker")): \(Spell.seconds(figures.makespan)) for \
        \(Spell.count(figures.steps, "step"))
        lower bound \(Spell.seconds(figures.lowerBound)), list schedule \(Spell.seconds(figures.schedule))
        \(figures.executedOnce ? "each step ran once" : "NOT each step ran once"), \
        \(figures.inOrder ? "none before its needs" : "SOME BEFORE THEIR NEEDS")
        """
    }
}

/// What the log of events says about a replay.
struct ReplayAccount {
    let makespan: Double
    let executedOnce: Bool
    let inOrder: Bool

    init(_ events: [RunEvent], steps: [StepSummary], _ graph: StepGraph) {
        var started: [Int: Date] = [:]
        var ended: [Int: Date] = [:]
        var starts = 0
        for event in events {
            guard let step = event.stepNo else { continue }
            switch event.kind {
            case "step_started":
                started[step] = event.at
                starts += 1
            case "step_completed": ended[step] = event.at
            default: break
            }
        }
        let numbers = Dictionary(uniqueKeysWithValues: steps.map { ($0.key, $0.stepNo) })
        executedOnce = starts == graph.steps.count && started.count == starts && ended.count == starts
        inOrder = graph.needs.enumerated().allSatisfy { step, needs in
            guard let number = numbers[graph.steps[step].key], let start = started[number] else { return false }
            return needs.allSatisfy { need in
                numbers[graph.steps[need].key].flatMap { ended[$0] }.map { $0 <= start } ?? false
            }
        }
        let first = events.first { $0.kind == "run_submitted" }?.at
        let last = events.last { $0.kind == "run_completed" }?.at
        makespan = first.flatMap { first in last?.timeIntervalSince(first) } ?? 0
    }
}

extension Client {
    /// The whole log of a run.
    fileprivate func allEvents(of run: Int64) async throws -> [RunEvent] {
        var events: [RunEvent] = []
        while true {
            let page = try await self.events(after: events.last?.eventId ?? 0, run: run, limit: 10_000)
            guard !page.isEmpty else { return events }
            events += page
        }
    }
}
