import ArgumentParser
import Millrace
import MillraceAgent

struct Latency: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How long work waits before its handler starts, at a steady rate.",
        discussion: """
            Runs are submitted by the clock, whether or not the engine keeps up. With --load it first measures the rate \
            that the engine reaches, then offers two thirds of it.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "single, chain:N, diamond:N or random:N[:SEED].")
    var shape = Shape.chain(2)

    @Option(help: ArgumentHelp("Runs submitted each second.", valueName: "runs/s"))
    var rate = 100.0

    @Option(help: ArgumentHelp("For how long.", valueName: "s"))
    var seconds = 10.0

    @Flag(help: "Offer two thirds of the rate that the engine reaches, instead of --rate.")
    var load = false

    @Option(help: "With --load: the runs by which that rate is measured.")
    var runs = 5000

    @OptionGroup var crew: CrewOptions

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 0.1...1e6 ~= rate, 0.1...86_400 ~= seconds, 1...10_000_000 ~= runs else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
        guard !shape.needs.isEmpty else { throw ValidationError("--shape must be one without a file.") }
        guard !crew.processes else { throw ValidationError("Only agents in this process tell when a handler starts.") }
    }

    func run() async throws {
        let definition = try shape.definition(Shape.Work(handler: MarkHandler.name))
        let starts = StepStarts()
        var handlers = Handlers.standard
        handlers.register(MarkHandler.name, MarkHandler(starts: starts))
        let stage = try await BenchStage(options, warmUp)
        let reached = try await load ? reachedRate(stage, definition, handlers) : nil
        let rate = reached.map { $0 * 2 / 3 } ?? rate
        let (measured, cost) = try await stage.play(
            [definition],
            crew: try crew.crew(for: [definition], handlers: handlers, database: stage.database, options),
            connections: OpenLoop.connections,
            warmUp: try shape.definition(.noop)
        ) { scene in
            let measured = try await measure(scene, rate: rate, starts)
            return (measured, steps: measured.steps)
        }
        var report = BenchReport("latency")
        report.set("shape", shape.name)
        crew.describe(in: &report)
        report.set("load", load)
        report.set("rate", rate)
        if let reached {
            report.add("reached_runs_per_second", reached)
            report.add("reached_steps_per_second", reached * Double(shape.needs.count))
        }
        report.add("runs", measured.runs)
        report.add("steps", measured.steps)
        report.add("seconds", measured.seconds)
        for (name, percentiles) in measured.latencies { report.add(name, percentiles) }
        cost.add(to: &report)
        try await stage.describe(in: &report)
        options.output.answer(report, report.text(for: options.output.terminal))
    }

    private struct Measured: Sendable {
        var runs: Int
        var steps: Int
        var seconds: Double
        var latencies: [(String, Percentiles)]
    }

    /// Runs a second, all submitted at once.
    private func reachedRate(
        _ stage: BenchStage,
        _ definition: WorkflowDefinition,
        _ handlers: Handlers
    ) async throws -> Double {
        let crew = try crew.crew(for: [definition], handlers: handlers, database: stage.database, options)
        let (timing, _) = try await stage.play([definition], crew: crew, warmUp: try shape.definition(.noop)) { scene in
            let timing = try await scene.client.load(scene.workflows[0], runs: runs, batch: self.crew.submitBatch)
            return (timing, steps: timing.completedSteps)
        }
        return Double(runs) / max(timing.seconds, 1e-6)
    }

    private func measure(_ scene: BenchStage.Scene, rate: Double, _ starts: StepStarts) async throws -> Measured {
        let (client, defined) = (scene.client, scene.workflows[0])
        let loop = OpenLoop(rate: rate, seconds: seconds)
        starts.expect(loop.runs * shape.needs.count)
        let submits = try await loop.submit(defined, client)
        let ids = submits.map(\.run)
        try await client.finish(ids, of: defined)
        let timing = try await client.timing(of: ids)
        let numbers = try await stepNumbers(client, ids.first)
        var latencies = load ? [] : StartLatencies(submits, starts, needs: shape.needs, numbers: numbers).percentiles
        latencies.append(("ready_to_start_ms", try await readyToStart(client, ids, starts)))
        return Measured(
            runs: ids.count,
            steps: timing.completedSteps,
            seconds: timing.seconds,
            latencies: latencies
        )
    }

    /// The numbers that the server gave to the steps of the shape.
    private func stepNumbers(_ client: Client, _ run: Int64?) async throws -> [Int] {
        guard let run else { return [] }
        let byKey = Dictionary(uniqueKeysWithValues: try await client.steps(of: run).map { ($0.key, $0.stepNo) })
        return shape.needs.indices.map { byKey["s\($0)"] ?? 0 }
    }

    /// From the moment the database has made a step ready, before that is committed, to its handler.
    private func readyToStart(_ client: Client, _ runs: [Int64], _ starts: StepStarts) async throws -> Percentiles {
        let recorder = LatencyRecorder()
        for from in stride(from: 0, to: runs.count, by: 500) {
            for step in try await client.readyMoments(of: Array(runs[from..<min(from + 500, runs.count)])) {
                guard let start = starts.start(run: step.runId, step: step.stepNo) else { continue }
                recorder.record(seconds: start - step.readyAt)
            }
        }
        return recorder.percentiles
    }
}

/// How long handlers took to start, from what the submitting program saw.
struct StartLatencies {
    /// From the return of a submit, when it is committed.
    private let submitToStart = LatencyRecorder()
    /// From the moment that the submit was due; a submit that came late, or took long, counts.
    private let dueToStart = LatencyRecorder()
    /// From the end of the last need's handler, which then has yet to be reported.
    private let needToStart = LatencyRecorder()

    init(_ submits: [OpenLoop.Submit], _ starts: StepStarts, needs: [[Int]], numbers: [Int]) {
        for submit in submits {
            let moments = numbers.map { starts.start(run: submit.run, step: $0) }
            for (step, start) in moments.enumerated() {
                guard let start else { continue }
                if needs[step].isEmpty {
                    submitToStart.record(seconds: start - submit.returned)
                    dueToStart.record(seconds: start - submit.due)
                } else if let last = needs[step].compactMap({ moments[$0] }).max() {
                    needToStart.record(seconds: start - last)
                }
            }
        }
    }

    var percentiles: [(String, Percentiles)] {
        [
            ("submit_to_start_ms", submitToStart.percentiles), ("due_to_start_ms", dueToStart.percentiles),
            ("need_to_start_ms", needToStart.percentiles),
        ].filter { $0.1.count > 0 }
    }
}
