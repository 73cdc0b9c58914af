import Millrace
import MillraceAgent
import MillraceTestSupport
import Synchronization
import Testing

/// Batches, with agents at work on both tiers.
@Suite(.serialized) struct AgentBatchTests {
    struct Mail: Codable {
        var to: String
        var fails: Int?
    }

    /// What a handler was called with: the recipients of each call, in order.
    final class Calls: Sendable {
        private let recipients = Mutex<[[String]]>([])

        var all: [[String]] { recipients.withLock { $0 } }

        func add(_ steps: [StepContext]) throws {
            let call = try steps.map { try $0.input(as: Mail.self).to }
            recipients.withLock { $0.append(call) }
        }
    }

    private static let send = #"""
        [{"key": "send", "handler": "mail", "input": {"to": "$.run.to", "fails": "$.run.fails"},
          "batch": {"max": 10, "delay": "300ms", "key": "$.run.to"}, "retry": {"limit": 5, "backoff": "10ms"}},
         {"key": "after", "handler": "noop", "needs": ["send"]}]
        """#

    /// Runs for each of so many recipients.
    private func submit(_ fixture: AgentFixture, each: Int, recipients: Int, fails: Int = 0) async throws -> [Int64] {
        var runs: [Int64] = []
        for recipient in 1...recipients {
            let input = #"{"to": "r\#(recipient)", "fails": \#(fails)}"#
            runs += try await fixture.submit(Self.send, input: input, runs: each)
        }
        return runs
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func eachStepEndsByItself(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let calls = Calls()
        var handlers = Handlers.standard
        handlers.registerBatch("mail") { steps in
            try calls.add(steps)
            return try steps.map { step in
                let mail: Mail = try step.input()
                guard step.attempt > mail.fails ?? 0 else { return .failure(HandlerError.retriable("busy")) }
                return .success(try .encoding(["sent": mail.to]))
            }
        }
        var runs = try await submit(fixture, each: 7, recipients: 4)
        runs += try await submit(fixture, each: 3, recipients: 2, fails: 2)
        try await fixture.with(fixture.agent(handlers: handlers), fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        for call in calls.all {
            #expect(Set(call).count == 1)
            #expect(call.count <= 10)
        }
        // As often as each would be by itself: 28 at once, 6 in three tries.
        let executed = calls.all.reduce(0) { $0 + $1.count }
        #expect(executed == 46)
        #expect(calls.all.contains { $0.count > 1 })
        let outputs = try await fixture.psql(
            "SELECT count(*) FROM millrace.steps s JOIN millrace.runs r USING (run_id) WHERE s.output ->> 'sent' = r.input ->> 'to'"
        )
        #expect(outputs == "\(runs.count)")
        #expect(try await fixture.psql("SELECT count(*) FROM millrace_internal.batch_member") == "0")
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func whatHoldsForAllFailsAll(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        var handlers = Handlers.standard
        handlers.registerBatch("mail") { _ in throw HandlerError.fatal("no connection") }
        let runs = try await submit(fixture, each: 5, recipients: 2)
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        for run in runs { #expect(try await fixture.step("error", "send", of: run) == "no connection") }
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func aHandlerWithoutBatchesGetsStepsOneByOne(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        var handlers = Handlers.standard
        handlers.register("mail") { (mail: Mail, _) in mail }
        let runs = try await submit(fixture, each: 5, recipients: 2)
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
    }

    /// One agent holds a batch when it is cut off: what it held gathers again, for another one.
    @Test(arguments: PostgresCluster.Tier.allCases)
    func anotherAgentGoesOnWhereOneWasLostInABatch(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let agent = try await fixture.psql(
            "SELECT agent_id FROM millrace.register_agent('{default}', '{mail}', protocol => 2)"
        )
        let runs = try await submit(fixture, each: 5, recipients: 1)
        try await eventually("the batch is claimed") {
            // On the plain tier it is agents who keep time.
            try await fixture.psql("SELECT FROM millrace.keep()")
            return try await fixture.psql(
                "SELECT count(*), count(DISTINCT batch) FROM millrace.claim(\(agent), 1)"
            ) == "5|1"
        }
        // As if the time of its lease had passed.
        try await fixture.psql("UPDATE millrace_internal.agent SET lease_expires_at = now() - interval '1 s'")

        let calls = Calls()
        var handlers = Handlers.standard
        handlers.registerBatch("mail") { steps in
            try calls.add(steps)
            return steps.map { _ in .success(.none) }
        }
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(calls.all.reduce(0) { $0 + $1.count } == 5)
        for run in runs { #expect(try await fixture.completions(of: run) == "2|2") }
    }
}
