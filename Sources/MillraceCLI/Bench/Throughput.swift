import ArgumentParser
import Millrace
import MillraceAgent
import Postgres
import Synchronization

struct Throughput: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How many steps a second pass through the engine.",
        discussion: """
            Submits runs in batches while agents execute them, and takes the time from the first submit to the last \
            completion as the log of events has them. With --backlog all runs wait before the first agent starts, and the \
            rate is that from the first start of a step.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "single, chain:N, diamond:N, random:N[:SEED], a definition file, or a recorded run in WfFormat.")
    var shape = Shape.chain(10)

    @Option(help: "Runs to submit.")
    var runs = 10_000

    @OptionGroup var crew: CrewOptions

    @Option(help: ArgumentHelp("Size of each step's output.", valueName: "bytes"))
    var payload = 0

    @Option(help: ArgumentHelp("How long each step sleeps.", valueName: "ms"))
    var stepDuration = 0

    @Option(help: "The handler of the steps, where nothing else says so.")
    var handler = "noop"

    @Flag(help: "Submit all runs before the agents start, and measure how fast that is, too.")
    var backlog = false

    @Flag(help: "Another session holds a snapshot throughout, as a long report or a dump does.")
    var pinned = false

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 1...10_000_000 ~= runs, 0...10_000_000 ~= payload, 0...3_600_000 ~= stepDuration else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
        guard payload == 0 || stepDuration == 0 else {
            throw ValidationError("A step either sleeps or has an output: --payload or --step-duration.")
        }
        guard payload == 0 || !crew.processes else {
            throw ValidationError("Agents in processes of their own know no handler with a payload.")
        }
    }

    func run() async throws {
        let definition = try shape.definition(work)
        var handlers = Handlers.standard
        handlers.register(PayloadHandler.name, PayloadHandler(bytes: payload))
        let stage = try await BenchStage(options, warmUp)
        let before = stepDuration > 0 ? try WarmUp.standard : nil
        let waiting = Waiting()
        var beforehand: (@Sendable (BenchStage.Scene) async throws -> Void)?
        if backlog { beforehand = { @Sendable scene in try await submit(scene, waiting) } }
        let (timing, cost) = try await stage.play(
            [definition],
            crew: try crew.crew(for: [definition], handlers: handlers, database: stage.database, options),
            warmUp: before,
            beforehand: beforehand
        ) { scene in
            let timing: RunsTiming
            if pinned {
                timing = try await scene.client.holdingSnapshot { try await load(scene, waiting) }
            } else {
                timing = try await load(scene, waiting)
            }
            return (timing, steps: timing.completedSteps)
        }
        var report = BenchReport("throughput")
        report.set("shape", shape.name)
        report.set("runs", runs)
        crew.describe(in: &report)
        report.set("payload", payload)
        report.set("step_duration_ms", stepDuration)
        report.set("backlog", backlog)
        report.set("pinned", pinned)
        if backlog {
            report.add("submitted_per_second", Double(runs) / max(waiting.submits.withLock { $0.seconds }, 1e-6))
        }
        report.add(timing, runs: runs, isBacklog: backlog)
        cost.add(to: &report)
        try await stage.describe(in: &report)
        options.output.answer(report, report.text(for: options.output.terminal))
    }

    private var work: Shape.Work {
        if payload > 0 { return Shape.Work(handler: PayloadHandler.name) }
        return stepDuration > 0 ? .sleep(.milliseconds(stepDuration)) : Shape.Work(handler: handler)
    }

    /// Runs that wait for agents, and how long submitting them took.
    private final class Waiting: Sendable {
        let submits = Mutex<(runs: [Int64], seconds: Double)>(([], 0))
    }

    private func submit(_ scene: BenchStage.Scene, _ waiting: Waiting) async throws {
        let begin = ContinuousClock.now
        let ids = try await scene.client.submit(scene.workflows[0], runs: runs, batch: crew.submitBatch)
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        waiting.submits.withLock { $0 = (ids, seconds) }
    }

    private func load(_ scene: BenchStage.Scene, _ waiting: Waiting) async throws -> RunsTiming {
        guard backlog else {
            return try await scene.client.load(scene.workflows[0], runs: runs, batch: crew.submitBatch)
        }
        return try await scene.client.finished(waiting.submits.withLock { $0.runs }, of: scene.workflows[0])
    }
}

extension Client {
    /// Submits runs and waits until they are over.
    ///
    /// - Throws: ``MillraceError`` where not all have completed.
    func load(_ defined: DefinedWorkflow, runs: Int, batch: Int = 500) async throws -> RunsTiming {
        try await finished(try await submit(defined, runs: runs, batch: batch), of: defined)
    }

    /// Waits until some runs are over.
    ///
    /// - Throws: ``MillraceError`` where not all have completed.
    func finished(_ ids: [Int64], of defined: DefinedWorkflow) async throws -> RunsTiming {
        try await finish(ids, of: defined)
        let timing = try await timing(of: ids)
        guard timing.completedRuns == ids.count else {
            throw MillraceError(
                .unexpectedAnswer,
                "Only \(timing.completedRuns) of \(ids.count) runs completed.",
                hint: "millrace runs --workflow \(defined.workflow) shows the others."
            )
        }
        return timing
    }
}

extension BenchReport {
    /// - Parameter isBacklog: Whether the submits came before, and do not count.
    mutating func add(_ timing: RunsTiming, runs: Int, isBacklog: Bool) {
        let seconds = max(isBacklog ? timing.workingSeconds : timing.seconds, 1e-6)
        add("first_run_id", Int(timing.runIds.lowerBound))
        add("last_run_id", Int(timing.runIds.upperBound))
        add("steps", timing.completedSteps)
        add("seconds", seconds)
        add("makespan_ms", seconds * 1000)
        add("steps_per_second", Double(timing.completedSteps) / seconds)
        add("runs_per_second", Double(runs) / seconds)
        add("first_tenth_steps_per_second", timing.firstTenthRate)
        add("last_tenth_steps_per_second", timing.lastTenthRate)
    }
}
