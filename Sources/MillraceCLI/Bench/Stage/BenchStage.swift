import Foundation
import Millrace
import MillraceAgent
import Postgres

/// Where a benchmark plays: a database, agents at work, and meters that are read before and after.
struct BenchStage: Sendable {
    let database: PostgresConfiguration
    private let warmUp: WarmUp

    init(_ options: DatabaseOptions, _ warmUp: WarmUp) async throws {
        database = try await options.configurationStartingEmbedded()
        self.warmUp = warmUp
    }

    func describe(in report: inout BenchReport) async throws { try await report.describe(database) }

    /// What `body` is given.
    struct Scene: Sendable {
        let client: Client
        let workflows: [DefinedWorkflow]
    }

    /// Lets agents work while `body` goes on, and counts what that took.
    ///
    /// - Parameters:
    ///   - warmUp: What the agents do beforehand; the first of `definitions` where it is small.
    ///   - beforehand: Goes on before the agents start, which then begin without a warm-up; it is counted, too.
    ///   - body: Answers the number of steps that were completed beside its result.
    func play<Result: Sendable>(
        _ definitions: [WorkflowDefinition],
        crew: any Crew,
        connections: Int = 4,
        warmUp: WorkflowDefinition? = nil,
        beforehand: (@Sendable (Scene) async throws -> Void)? = nil,
        _ body: @escaping @Sendable (Scene) async throws -> (Result, steps: Int)
    ) async throws -> (Result, Cost) {
        let (scene, before) = try await Client.with(database, connections: 1) { client in
            try await client.installation().check()
            var workflows: [DefinedWorkflow] = []
            for definition in definitions { workflows.append(try await client.define(definition)) }
            return (workflows, try await client.counters())
        }
        var earlier: Meter?
        if let beforehand {
            earlier = try await Client.with(database, connections: connections) { client in
                let begin = try await Meter.read(client)
                try await beforehand(Scene(client: client, workflows: scene))
                return begin
            }
        }
        let first = try warmUp ?? definitions.first.flatMap { $0.steps.count <= 100 ? $0 : nil } ?? WarmUp.standard
        let played = try await crew.work { [earlier] in
            try await Client.with(database, connections: connections) { client in
                let warm = try await earlier == nil ? client.warmUp(first, steps: self.warmUp.steps) : 0
                let now = try await Meter.read(client)
                let begin = earlier ?? now
                let (result, steps) = try await body(Scene(client: client, workflows: scene))
                return Played(result: result, steps: steps, warm: warm, begin: begin, end: try await Meter.read(client))
            }
        }
        // All sessions have ended, and have handed in their counts.
        return try await Client.with(database, connections: 1) { client in
            let cost = Cost(
                steps: played.steps,
                countedSteps: played.steps + played.warm,
                counters: try await client.counters() - before,
                walBytes: played.end.log.bytes - played.begin.log.bytes,
                fullPageBytes: try await client.fullPageBytes(from: played.begin.log, to: played.end.log),
                serverCPU: played.end.serverCPU.flatMap { end in played.begin.serverCPU.map { end - $0 } },
                agentCPU: played.end.agentCPU - played.begin.agentCPU
            )
            return (played.result, cost)
        }
    }

    private struct Played<Result: Sendable>: Sendable {
        var result: Result
        var steps: Int
        var warm: Int
        var begin: Meter
        var end: Meter
    }
}

extension BenchReport {
    /// Names the server and what of its settings a measurement depends on.
    mutating func describe(_ database: PostgresConfiguration) async throws {
        add("server", try await Client.with(database, connections: 1) { try await $0.serverSettings() })
        add("cores", ProcessInfo.processInfo.activeProcessorCount)
    }
}

/// Agents, for as long as something else goes on.
protocol Crew: Sendable {
    func work<Result: Sendable>(while body: @escaping @Sendable () async throws -> Result) async throws -> Result
}

extension AgentCrew: Crew {}
