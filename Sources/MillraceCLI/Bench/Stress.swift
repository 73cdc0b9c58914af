import ArgumentParser
import Millrace
import MillraceAgent
import Postgres

struct Stress: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Many runs at once over few connections, beside many idle ones.",
        discussion: """
            Each run is submitted and awaited by a task of its own; all share one small pool, and so does the agent, some \
            of whose steps hold a connection while they run. Ends with 1 where a run does not complete.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "Runs at once.")
    var runs = 50

    @Option(help: "Steps of each run.")
    var steps = 20

    @Option(help: "Connections of each of the two pools.")
    var connections = 5

    @Option(help: "Idle connections beside them.")
    var idle = 300

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 1...100_000 ~= runs, 1...10_000 ~= steps, 4...1000 ~= connections, 0...10_000 ~= idle else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
    }

    func run() async throws {
        let definition = Self.definition(steps)
        let stage = try await BenchStage(options, warmUp)
        var agent = try AgentConfiguration(reader: Settings.environment)
        agent.pool.min = min(agent.pool.min, connections)
        agent.pool.max = connections
        let crew = AgentCrew(1, configuration: agent, database: stage.database)
        let (spans, cost) = try await IdleSessions.with(idle, stage.database) {
            try await stage.play([definition], crew: crew, connections: connections) { scene in
                let ids = try await submitAndAwait(scene)
                let spans = try await scene.client.spans(of: ids)
                return (spans, steps: spans.count * steps)
            }
        }
        let recorder = LatencyRecorder()
        for span in spans { if let end = span.endedAt { recorder.record(seconds: end - span.submittedAt) } }
        var report = BenchReport("stress")
        report.set("runs", runs)
        report.set("steps_per_run", steps)
        report.set("connections", connections)
        report.set("idle_connections", idle)
        report.add("completed", spans.count { $0.completed })
        report.add("run_ms", recorder.percentiles)
        cost.add(to: &report)
        try await stage.describe(in: &report)
        report.judge("runs left over", Double(runs - spans.count { $0.completed }), atMost: 0, "runs")
        options.output.answer(report, report.text(for: options.output.terminal))
        guard report.passed else { throw ExitStatus.failed }
    }

    /// Every other step is a statement, which holds one of the agent's connections.
    private static func definition(_ count: Int) -> WorkflowDefinition {
        let needs = Shape.random(count, seed: 7).needs
        let steps = needs.enumerated().map { number, needs in
            WorkflowDefinition.Step(
                key: "s\(number)",
                handler: number % 2 == 0 ? "noop" : "sql",
                needs: needs.map { "s\($0)" }
            )
        }
        return WorkflowDefinition(name: "bench.stress", steps: steps) { step in
            step.handler == "sql" ? ["statement": .string("select 1")] : nil
        }
    }

    private func submitAndAwait(_ scene: BenchStage.Scene) async throws -> [Int64] {
        let (client, defined) = (scene.client, scene.workflows[0])
        var submission = Submission(workflow: defined.workflow)
        submission.version = defined.version
        return try await withThrowingTaskGroup(of: Int64.self) { [submission] tasks in
            for _ in 0..<runs {
                tasks.addTask {
                    let run = try await client.submit(submission)
                    while try await !client.run(run).isOver { try await Task.sleep(for: .milliseconds(50)) }
                    return run
                }
            }
            return try await tasks.reduce(into: []) { $0.append($1) }
        }
    }
}

/// Sessions that do nothing.
enum IdleSessions {
    static func with<Result>(
        _ count: Int,
        _ database: PostgresConfiguration,
        _ body: () async throws -> Result
    ) async throws -> Result {
        var sessions: [Connection] = []
        let result: Swift.Result<Result, any Error>
        do {
            for _ in 0..<count { sessions.append(try await Connection.connect(database)) }
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        for session in sessions { session.close() }
        return try result.get()
    }
}
