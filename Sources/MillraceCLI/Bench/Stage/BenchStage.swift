import Foundation
import Millrace
import MillraceAgent
import Postgres

/// Where a benchmark plays: a database, agents at work, and meters that are read before and after.
struct BenchStage: Sendable {
    let database: PostgresConfiguration

    init(_ options: DatabaseOptions) async throws {
        database = try await options.configurationStartingEmbedded()
    }

    /// Names the server and what of its settings a measurement depends on.
    func describe(in report: inout BenchReport) async throws {
        let settings = try await Client.with(database, connections: 1) { try await $0.serverSettings() }
        report.add("server", settings)
        report.add("cores", ProcessInfo.processInfo.activeProcessorCount)
    }

    /// What `body` is given.
    struct Scene: Sendable {
        let client: Client
        let workflows: [DefinedWorkflow]
    }

    /// Lets agents work while `body` goes on, and counts what that took.
    ///
    /// - Parameters:
    ///   - warmUp: What the agents do beforehand; the first of `definitions` where it is small.
    ///   - body: Answers the number of steps that were completed beside its result.
    func play<Result: Sendable>(
        _ definitions: [WorkflowDefinition],
        crew: any Crew,
        connections: Int = 4,
        warmUp: WorkflowDefinition? = nil,
        _ body: @escaping @Sendable (Scene) async throws -> (Result, steps: Int)
    ) async throws -> (Result, Cost) {
        let (scene, before) = try await Client.with(database, connections: 1) { client in
            try await client.installation().check()
            var workflows: [DefinedWorkflow] = []
            for definition in definitions { workflows.append(try await client.define(definition)) }
            return (workflows, try await client.counters())
        }
        let warmUp = try warmUp ?? definitions.first.flatMap { $0.steps.count <= 100 ? $0 : nil } ?? WarmUp.standard
        let played = try await crew.work {
            try await Client.with(database, connections: connections) { client in
                let warm = try await client.warmUp(warmUp)
                let begin = try await Meter.read(client)
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

/// Agents, for as long as something else goes on.
protocol Crew: Sendable {
    func work<Result: Sendable>(while body: @escaping @Sendable () async throws -> Result) async throws -> Result
}

extension AgentCrew: Crew {}
