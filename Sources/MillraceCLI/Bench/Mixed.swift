import ArgumentParser
import Millrace

struct Mixed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Small, medium, large and enterprise workflows, all at once.",
        discussion: """
            Each class has its rate and the time in which its runs must end. The rates are sped up; the times are not. \
            Ends with 1 where a class misses its time.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "How many times the rates of the classes.")
    var speedUp = 500.0

    @Option(help: ArgumentHelp("For how long runs are submitted.", valueName: "s"))
    var seconds = 20.0

    @OptionGroup var crew: CrewOptions

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 0.001...1e6 ~= speedUp, 0.1...86_400 ~= seconds else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
    }

    func run() async throws {
        let classes = WorkflowClass.all
        let definitions = try classes.map { try $0.definitions() }
        let flat = definitions.flatMap { $0 }
        let stage = try await BenchStage(options, warmUp)
        let (spans, cost) = try await stage.play(
            flat,
            crew: try crew.crew(for: flat, database: stage.database, options),
            connections: OpenLoop.connections * classes.count,
            warmUp: try WarmUp.standard
        ) { scene in
            let submitted = try await submit(classes, scene)
            for (workflow, runs) in submitted { try await scene.client.finish(runs, of: workflow) }
            var spans: [[RunSpan]] = classes.map { _ in [] }
            var steps = 0
            for (place, (workflow, runs)) in submitted.enumerated() where !runs.isEmpty {
                spans[place / WorkflowClass.variants] += try await scene.client.spans(of: runs)
                steps += runs.count * workflow.steps
            }
            return (spans, steps: steps)
        }
        var report = BenchReport("mixed")
        report.set("speed_up", speedUp)
        report.set("submit_seconds", seconds)
        crew.describe(in: &report)
        report.add("runs", spans.map(\.count).reduce(0, +))
        report.add("steps", cost.steps)
        report.add("runs_per_hour", spans.map { Double($0.count) / seconds * 3600 }.reduce(0, +))
        for (workflowClass, spans) in zip(classes, spans) { workflowClass.judge(spans, in: &report) }
        cost.add(to: &report)
        try await stage.describe(in: &report)
        options.output.answer(report, report.text(for: options.output.terminal))
        guard report.passed else { throw ExitStatus.failed }
    }

    /// All classes at once, the variants of each in turn.
    private func submit(
        _ classes: [WorkflowClass],
        _ scene: BenchStage.Scene
    ) async throws -> [(DefinedWorkflow, [Int64])] {
        try await withThrowingTaskGroup(of: (Int, [Int64]).self) { tasks in
            for (place, workflow) in scene.workflows.enumerated() {
                let rate = classes[place / WorkflowClass.variants].runsPerHour / 3600 * speedUp
                let loop = OpenLoop(rate: rate / Double(WorkflowClass.variants), seconds: seconds)
                tasks.addTask { (place, try await loop.submit(workflow, scene.client, lanes: 2).map(\.run)) }
            }
            var submitted = scene.workflows.map { ($0, [Int64]()) }
            for try await (place, runs) in tasks { submitted[place].1 = runs }
            return submitted
        }
    }
}

/// Workflows of one size.
package struct WorkflowClass: Sendable {
    package var name: String
    package var steps: ClosedRange<Int>
    var runsPerHour: Double
    /// The time in which each run must end, in seconds.
    var bound: Double

    package static let all = [
        WorkflowClass(name: "small", steps: 5...15, runsPerHour: 1000, bound: 5),
        WorkflowClass(name: "medium", steps: 15...50, runsPerHour: 500, bound: 30),
        WorkflowClass(name: "large", steps: 50...500, runsPerHour: 100, bound: 600),
        WorkflowClass(name: "enterprise", steps: 1000...1000, runsPerHour: 50, bound: 3600),
    ]

    /// Different graphs of each class.
    static let variants = 4

    /// From the smallest to the largest.
    package var sizes: [Int] {
        (0..<Self.variants).map { steps.lowerBound + (steps.upperBound - steps.lowerBound) * $0 / (Self.variants - 1) }
    }

    func definitions() throws -> [WorkflowDefinition] {
        try sizes.enumerated().map { place, size in
            try Shape.random(size, seed: UInt64(place + 1)).definition(.noop)
        }
    }

    /// The slowest run counts; one that has not completed is late.
    package func judge(_ spans: [RunSpan], in report: inout BenchReport) {
        let recorder = LatencyRecorder()
        for span in spans { if let end = span.endedAt { recorder.record(seconds: end - span.submittedAt) } }
        let slowest = spans.map { $0.completed ? ($0.endedAt ?? .infinity) - $0.submittedAt : .infinity }.max() ?? 0
        report.add("\(name)_runs", spans.count)
        report.add("\(name)_ms", recorder.percentiles)
        report.judge("\(name), the slowest run", slowest, atMost: bound, "seconds")
    }
}
