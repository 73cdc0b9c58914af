import Millrace
import MillraceAgent
import MillraceTestSupport
import Postgres
import Testing

/// What breaks under an agent, and how it goes on.
@Suite(.serialized) struct AgentRecoveryTests {
    /// A few steps after one another beside each other, so that something always runs.
    private static let steps = #"""
        [{"key": "a", "handler": "sleep", "with": {"seconds": 0.05}, "retry": {"limit": 3, "backoff": 0}},
         {"key": "b", "handler": "shell", "with": {"command": "sleep 0.05; echo 1"}, "needs": ["a"], "retry": {"limit": 3, "backoff": 0}},
         {"key": "c", "handler": "noop", "needs": ["b"]},
         {"key": "d", "handler": "sleep", "with": {"seconds": 0.05}, "needs": ["c"], "retry": {"limit": 3, "backoff": 0}},
         {"key": "e", "handler": "sql", "with": {"statement": "select 1"}, "needs": ["d"], "retry": {"limit": 3, "backoff": 0}}]
        """#

    private func expectAllOnce(_ fixture: AgentFixture, _ runs: [Int64]) async throws {
        try await fixture.eventuallyEnds(runs, as: "completed")
        for run in runs { #expect(try await fixture.completions(of: run) == "5|5") }
    }

    @Test(arguments: PostgresCluster.Tier.allCases, [PostgresCluster.StopMode.fast, .immediate])
    func theDatabaseIsRestarted(tier: PostgresCluster.Tier, mode: PostgresCluster.StopMode) async throws {
        try await PostgresCluster.with(tier) { cluster in
            let fixture = try await AgentFixture(in: cluster)
            let runs = try await fixture.submit(Self.steps, runs: 60)
            try await fixture.with(fixture.agent()) { _ in
                try await eventually("work is under way") {
                    try await fixture.psql("SELECT count(*) > 20 FROM millrace.events WHERE kind = 'step_completed'")
                        == "t"
                }
                try await cluster.restart(mode)
                try await expectAllOnce(fixture, runs)
            }
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func connectionsAreCut(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(Self.steps, runs: 60)
        try await fixture.with(fixture.agent()) { _ in
            for round in 1...5 {
                try await eventually("work is under way") {
                    try await fixture.psql(
                        "SELECT count(*) > \(round * 30) FROM millrace.events WHERE kind = 'step_completed'"
                    ) == "t"
                }
                try await fixture.psql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            }
            try await expectAllOnce(fixture, runs)
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func anAgentThatWasForgottenRegistersAgain(
        tier: PostgresCluster.Tier
    ) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(Self.steps, runs: 40)
        try await fixture.with(fixture.agent()) { _ in
            try await eventually("work is under way") {
                try await fixture.psql("SELECT count(*) > 20 FROM millrace.events WHERE kind = 'step_completed'") == "t"
            }
            try await fixture.psql("SELECT millrace.deregister_agent(agent_id) FROM millrace.agents")
            try await expectAllOnce(fixture, runs)
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func workThatWasLostOnItsWayIsGivenBack(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let (started, release) = (Flag(), Flag())
        var handlers = Handlers()
        handlers.register("gate") { _ in
            started.raise()
            try await eventually("the gate opens") { release.isRaised }
            return .none
        }
        let runs = try await fixture.submit(#"[{"key": "gate", "handler": "gate"}]"#, runs: 2)
        let agent = fixture.agent(handlers: handlers) { $0.concurrency.total = 1 }
        try await fixture.with(agent) { _ in
            try await eventually("a gate is held") { started.isRaised }
            // The other one is handed out in the agent's name, and the agent never hears of it.
            let claim = "SELECT count(*) FROM millrace.claim((SELECT agent_id FROM millrace.agents))"
            #expect(try await fixture.psql(claim) == "1")

            // The next call of the agent hangs, and is cut off.
            let connection = try await Connection.connect(fixture.database)
            _ = try await connection.query("BEGIN")
            _ = try await connection.query("LOCK TABLE millrace_internal.agent IN ACCESS EXCLUSIVE MODE")
            release.raise()
            let hanging = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%from millrace.report%'"
            try await eventually("the report hangs") { try await fixture.psql("SELECT count(*) \(hanging)") == "1" }
            try await fixture.psql("SELECT pg_terminate_backend(pid) \(hanging)")
            _ = try await connection.query("ROLLBACK")
            connection.close()

            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(try await fixture.psql("SELECT count(*) FROM millrace.events WHERE kind = 'step_released'") == "1")
    }

    @Test func aStatementThatBreaksItsConnectionDoesNotComeBackForEver() async throws {
        let fixture = try await AgentFixture(.plain)
        let runs = try await fixture.submit(
            #"[{"key": "sql", "handler": "sql", "with": {"statement": "select pg_terminate_backend(pg_backend_pid())"}}]"#
        )
        try await fixture.with(fixture.agent()) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        #expect(try await fixture.step("error", "sql", of: runs[0]).contains("broke each time"))
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func anotherAgentGoesOnWhereOneDied(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(
            #"[{"key": "held", "handler": "sleep", "with": {"seconds": 0.01}}, {"key": "next", "needs": ["held"], "handler": "noop"}]"#
        )
        // An agent that took the step and was never heard of again.
        try await fixture.psql(
            "SELECT count(*) FROM millrace.register_agent('{default}', '{sleep}', lease => '1 s') a, LATERAL millrace.claim(a.agent_id)"
        )
        #expect(try await fixture.step("state", "held", of: runs[0]) == "running")
        try await fixture.with(fixture.agent { $0.lease = .seconds(1) }) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(try await fixture.step("attempts", "held", of: runs[0]) == "2")
    }
}
