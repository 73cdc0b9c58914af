import ArgumentParser
import Millrace
import MillraceAgent
import Postgres

struct Throughput: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How many steps a second pass through the engine.",
        discussion: """
            Submits runs in batches while agents execute them, and takes the time from the first submit to the last \
            completion as the log of events has them.
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

    @Flag(help: "Another session holds a snapshot throughout, as a long report or a dump does.")
    var pinned = false

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
        let stage = try await BenchStage(options)
        let warmUp = stepDuration > 0 ? try WarmUp.standard : nil
        let (timing, cost) = try await stage.play(
            [definition],
            crew: try crew.crew(for: [definition], handlers: handlers, database: stage.database, options),
            warmUp: warmUp
        ) { scene in
            let timing = try await pinned ? scene.client.holdingSnapshot { try await load(scene) } : load(scene)
            return (timing, steps: timing.completedSteps)
        }
        var report = BenchReport("throughput")
        report.set("shape", shape.name)
        report.set("runs", runs)
        crew.describe(in: &report)
        report.set("payload", payload)
        report.set("step_duration_ms", stepDuration)
        report.set("pinned", pinned)
        report.add(timing, runs: runs)
        cost.add(to: &report)
        try await stage.describe(in: &report)
        options.output.answer(report, report.text(for: options.output.terminal))
    }

    private var work: Shape.Work {
        if payload > 0 { return Shape.Work(handler: PayloadHandler.name) }
        return stepDuration > 0 ? .sleep(.milliseconds(stepDuration)) : Shape.Work(handler: handler)
    }

    private func load(_ scene: BenchStage.Scene) async throws -> RunsTiming {
        try await scene.client.load(scene.workflows[0], runs: runs, batch: crew.submitBatch)
    }
}

extension Client {
    /// Submits runs and waits until they are over.
    ///
    /// - Throws: ``MillraceError`` where not all have completed.
    func load(_ defined: DefinedWorkflow, runs: Int, batch: Int = 500) async throws -> RunsTiming {
        let ids = try await submit(defined, runs: runs, batch: batch)
        try await finish(ids, of: defined)
        let timing = try await timing(of: ids)
        guard timing.completedRuns == runs else {
            throw MillraceError(
                .unexpectedAnswer,
                "Only \(timing.completedRuns) of \(runs) runs completed.",
                hint: "millrace runs --workflow \(defined.workflow) shows the others."
            )
        }
        return timing
    }
}

extension BenchReport {
    mutating func add(_ timing: RunsTiming, runs: Int) {
        let seconds = max(timing.seconds, 1e-6)
        add("first_run_id", Int(timing.runIds.lowerBound))
        add("last_run_id", Int(timing.runIds.upperBound))
        add("steps", timing.completedSteps)
        add("seconds", timing.seconds)
        add("makespan_ms", timing.seconds * 1000)
        add("steps_per_second", Double(timing.completedSteps) / seconds)
        add("runs_per_second", Double(runs) / seconds)
        add("first_tenth_steps_per_second", timing.firstTenthRate)
        add("last_tenth_steps_per_second", timing.lastTenthRate)
    }
}
