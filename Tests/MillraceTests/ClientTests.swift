import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

@Suite("The typed SQL API")
struct ClientTests {
    private static let pair = WorkflowDefinition(
        name: "pair",
        steps: [.init(key: "first", handler: "noop"), .init(key: "second", handler: "noop", needs: ["first"])]
    )

    private func withClient(
        _ tier: PostgresCluster.Tier = .plain,
        _ body: (Client, WorkClient) async throws -> Void
    ) async throws {
        try await PostgresCluster.with(tier) { cluster in
            let database = try await cluster.createDatabase(extension: true)
            try await Pool.with(database) { pool in
                try await body(Client(pool: pool), WorkClient(pool: pool))
            }
        }
    }

    @Test("Submits with everything that can be said")
    func submit() async throws {
        try await withClient { client, _ in
            let defined = try await client.define(Self.pair)
            #expect(defined.version == 1 && defined.steps == 2 && defined.edges == 1)
            #expect(try await client.definition(of: "pair").steps == Self.pair.steps)

            var submission = Submission(workflow: "pair", input: .object(["quote": .string("'\"\\ü")]))
            submission.version = 1
            submission.priority = -3
            submission.tenant = "someone"
            submission.labels = ["colour": .string("red")]
            submission.notBefore = Date(timeIntervalSinceNow: 3600)
            submission.deadline = Date(timeIntervalSinceNow: 7200)
            submission.idempotencyKey = "once"
            submission.trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            let run = try await client.submit(submission)
            #expect(try await client.submit(submission) == run)
            let summary = try await client.run(run)
            #expect(summary.tenant == "someone" && summary.state == "running" && !summary.isOver)
            #expect(try await client.steps(of: run).map(\.state) == ["waiting", "pending"])
            #expect(try await client.whyNotReady(run, key: "second").reason.contains("first"))
            #expect(try await client.affectedBy(run, key: "first").map(\.key) == ["second"])
            #expect(try await client.criticalPath(run).map(\.key) == ["first", "second"])

            let many = try await client.submitMany(
                Submission(workflow: "pair"),
                inputs: [.integer(1), nil, .string("{}")],
                idempotencyKeys: ["a", "b", "c"]
            )
            #expect(many.count == 3)
            #expect(
                try await client.submitMany(Submission(workflow: "pair"), inputs: [nil], idempotencyKeys: ["b"])
                    == [many[1]]
            )
            let events = try await client.events(run: many[0])
            #expect(events.map(\.kind) == ["run_submitted"])
        }
    }

    @Test("Works, reports, and is refused row by row", arguments: PostgresCluster.Tier.allCases)
    func work(tier: PostgresCluster.Tier) async throws {
        try await withClient(tier) { client, work in
            _ = try await client.define(Self.pair)
            let runs = try await client.submitMany(Submission(workflow: "pair"), inputs: [nil, nil, nil])
            let agent = try await work.register(queues: ["default"], handlers: ["noop"], name: "test")
            #expect(agent.tier == tier.rawValue && !agent.channels.isEmpty && agent.lease == .seconds(10))

            // While the keeper fills it, it may hold steps that have been claimed from the tables meanwhile, and a report
            // leaves to a later claim what it would hand over.
            if tier == .dispatcher {
                try await eventually("the dispatcher is warm") {
                    guard case .object(let members) = try await client.dispatcher().first else { return false }
                    return members["state"] == .string("warm")
                }
            }
            let claimed = try await work.claim(
                agent: agent.agentID,
                capacity: Capacity(maxSteps: 10, perHandler: ["noop": 3])
            )
            #expect(claimed.map(\.key) == ["first", "first", "first"])
            #expect(claimed.map(\.handOut.runID) == runs)
            #expect(
                claimed.allSatisfy { $0.handler == "noop" && $0.workflow == "pair" && !$0.hasInput && $0.attempt == 1 }
            )

            let reported = try await work.report(
                agent: agent.agentID,
                [
                    StepReport(handOut: claimed[0].handOut, outcome: .completed, output: #"{"a": "\#0"}"#),
                    StepReport(handOut: claimed[1].handOut, outcome: .completed, output: #"{"b": "ü"}"#, elapsed: 0.5),
                    StepReport(handOut: claimed[2].handOut, outcome: .fatal, error: "no\0luck"),
                    StepReport(handOut: HandOut(runID: 4711, stepNo: 1, token: 1), outcome: .completed),
                ],
                capacity: Capacity(maxSteps: 5)
            )
            #expect(reported.answers.map(\.answer) == [.rejected, .applied, .applied, .unknown])
            #expect(reported.answers[0].code != nil && reported.answers[0].message != nil)
            #expect(reported.started.map(\.key) == ["second"])
            #expect(reported.started.first?.handOut.runID == runs[1])
            #expect(try await client.output(of: "first", run: runs[1]) == .object(["b": .string("ü")]))
            #expect(try await client.steps(of: runs[2]).map(\.state) == ["failed", "skipped"])
            #expect(try await client.steps(of: runs[2])[0].error == "no\u{fffd}luck")

            try await client.cancel(runs[0])
            let beat = try await work.heartbeat(agent: agent.agentID, queued: reported.started.map(\.handOut))
            #expect(beat.revoked == [Heartbeat.Revoked(handOut: claimed[0].handOut, reason: .cancelled)])
            #expect(try await work.release(agent: agent.agentID, reported.started.map(\.handOut)) == 1)
            #expect(try await client.queues().map(\.depth) == [1])
            try await work.deregister(agent: agent.agentID)
            let error = await #expect(throws: MillraceError.self) {
                try await work.claim(agent: agent.agentID, capacity: Capacity(maxSteps: 1))
            }
            #expect(error?.code == .unknownAgent)
        }
    }

    @Test("Errors keep the server's code, message and hint")
    func errors() async throws {
        try await withClient { client, _ in
            let unknown = await #expect(throws: MillraceError.self) {
                try await client.submit(Submission(workflow: "nothing"))
            }
            #expect(unknown?.sqlState?.hasPrefix("MR") == true)
            #expect(unknown?.code.rawValue == unknown?.sqlState)
            #expect(unknown?.isRetriable == false)
            let missing = await #expect(throws: MillraceError.self) { try await client.run(1) }
            #expect(missing?.code == .notFound)
            let problems = try await client.validate(
                try WorkflowDefinition(json: #"{"workflow": "x", "steps": [{"key": "a", "needs": ["b"]}]}"#)
            )
            #expect(!problems.isEmpty && problems.allSatisfy { $0.code.hasPrefix("MR") })
        }
    }
}
