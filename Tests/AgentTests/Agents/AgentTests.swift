import Millrace
import MillraceAgent
import MillraceTestSupport
import Postgres
import Synchronization
import Testing

/// Agents at work, on both tiers.
@Suite(.serialized) struct AgentTests {
    struct Person: Codable {
        var name: String
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func handlersOfAllKindsWorkTogether(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        var handlers = Handlers.standard
        handlers.register("greet") { (person: Person, _) in Person(name: "Hello " + person.name) }
        let runs = try await fixture.submit(
            #"""
            [{"key": "begin", "handler": "noop"},
             {"key": "shell", "handler": "shell", "needs": ["begin"], "with": {"command": "echo '{\"name\": \"Ada\"}'"}},
             {"key": "wait", "handler": "sleep", "needs": ["begin"], "with": {"seconds": 0.01}},
             {"key": "greet", "handler": "greet", "needs": ["shell"], "input": {"name": "$.needs.shell.name"}},
             {"key": "sql", "handler": "sql", "needs": ["greet", "wait"], "with": {"statement": "select $1->'needs'->'greet'->>'name'"}}]
            """#
        )
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(try await fixture.step("output", "greet", of: runs[0]) == #"{"name": "Hello Ada"}"#)
        #expect(try await fixture.step("output", "sql", of: runs[0]) == #""Hello Ada""#)
        #expect(try await fixture.psql("SELECT count(*) FROM millrace.agents") == "0")
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func whatWasDoneIsUndoneLastFirst(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        var handlers = Handlers.standard
        handlers.register("greet") { (person: Person, _) in Person(name: person.name + "!") }
        handlers.register("break") { _ in throw HandlerError.fatal("no stock") }
        let runs = try await fixture.submit(
            #"""
            [{"key": "book", "handler": "shell", "with": {"command": "echo '{\"name\": \"Ada\"}'"},
              "compensate": {"handler": "greet", "input": {"name": "$.output.name"}, "required": true}},
             {"key": "pay", "handler": "noop", "needs": ["book"],
              "compensate": {"handler": "shell", "with": {"command": ["printf", "%s", {"$template": "\"{{needs.book.name}}\""}]}}},
             {"key": "ship", "handler": "break", "needs": ["pay"]}]
            """#
        )
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        #expect(try await fixture.step("output", "compensate:book", of: runs[0]) == #"{"name": "Ada!"}"#)
        #expect(try await fixture.step("output", "compensate:pay", of: runs[0]) == #""Ada""#)
        let order = try await fixture.psql(
            """
            SELECT string_agg(s.key, ' ' ORDER BY e.event_id) FROM millrace.events e JOIN millrace.steps s USING (run_id, step_no)
            WHERE e.kind = 'step_completed'
            """
        )
        #expect(order == "book pay compensate:pay compensate:book")
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func twoAgentsShareManySteps(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let steps = (1...50).map {
            #"{"key": "s\#($0)", "handler": "noop"\#($0 == 1 ? "" : #", "needs": ["s\#($0 - 1)"]"#)}"#
        }
        let runs = try await fixture.submit("[\(steps.joined(separator: ","))]", runs: 100)
        try await fixture.with(fixture.agent(), fixture.agent()) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        let events = try await fixture.psql(
            "SELECT count(*), count(DISTINCT (run_id, step_no)) FROM millrace.events WHERE kind = 'step_completed'"
        )
        #expect(events == "5000|5000")
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func workThatComesLaterIsFound(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        // Nobody looks within the test: only a wake can bring the work.
        try await fixture.with(fixture.agent { $0.claims.lookInterval = .seconds(3600) }) { _ in
            for _ in 0..<5 {
                let runs = try await fixture.submit(
                    #"[{"key": "a", "handler": "noop"}, {"key": "b", "needs": ["a"], "handler": "shell", "with": {"command": "true"}}]"#
                )
                try await fixture.eventuallyEnds(runs, as: "completed")
            }
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func aHandlerNobodyRegisteredWaits(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(
            #"[{"key": "known", "handler": "noop"}, {"key": "strange", "handler": "unheard"}]"#
        )
        try await fixture.with(fixture.agent()) { _ in
            try await eventually("the known step is done") {
                try await fixture.step("state", "known", of: runs[0]) == "completed"
            }
            #expect(try await fixture.step("state", "strange", of: runs[0]) == "ready")
            #expect(try await fixture.state(of: runs[0]) == "running")
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func failuresAreReportedWithTheirReasons(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        var handlers = Handlers.standard
        handlers.register("hopeless") { _ in throw HandlerError.fatal("no\0 hope") }
        handlers.register("named") { _ in throw HandlerError.retriable("taxed", errorClass: "tax:late") }
        handlers.register("misnamed") { _ in throw HandlerError.retriable("no", errorClass: "no class") }
        handlers.register("garbled") { _ in .json("{no json") }
        handlers.register("nul") { _ in .json("\"a\0b\"") }
        let runs = try await fixture.submit(
            #"""
            [{"key": "shell", "handler": "shell", "with": {"command": "echo broken >&2; exit 3"}, "retry": {"limit": 1, "backoff": 0}},
             {"key": "hopeless", "handler": "hopeless", "retry": {"limit": 5}},
             {"key": "named", "handler": "named", "retry": {"limit": 5, "never_on": ["tax"]}}, {"key": "misnamed", "handler": "misnamed"},
             {"key": "garbled", "handler": "garbled"}, {"key": "nul", "handler": "nul"},
             {"key": "sql", "handler": "sql", "with": {"statement": "select 1 / (coalesce(($1->>'x')::int, 0))"}},
             {"key": "late", "handler": "sleep", "with": {"seconds": 1000}, "timeout": 0.05}]
            """#
        )
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        func error(_ key: String) async throws -> String { try await fixture.step("error", key, of: runs[0]) }
        #expect(try await error("shell").contains("exited with code 3; standard error says: broken"))
        #expect(try await fixture.step("attempts", "shell", of: runs[0]) == "2")
        #expect(try await error("hopeless") == "no\u{FFFD} hope")
        #expect(try await fixture.step("attempts", "hopeless", of: runs[0]) == "1")
        #expect(try await error("garbled").contains("rejected"))
        #expect(try await error("nul").contains("rejected"))
        #expect(try await error("sql").hasPrefix("22012: division by zero"))
        #expect(try await error("late").contains("0.05 s"))
        for (key, errorClass) in [
            "shell": "exit:3", "hopeless": "fatal", "named": "tax:late", "misnamed": "rejected", "garbled": "rejected",
            "sql": "sql:22012", "late": "timeout",
        ] {
            #expect(try await fixture.step("error_class", key, of: runs[0]) == errorClass)
        }
        #expect(try await fixture.step("attempts", "named", of: runs[0]) == "1")
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func aSqlStepTakesEffectOnce(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        try await fixture.psql("CREATE TABLE ledger (run bigint)")
        let runs = try await fixture.submit(
            #"[{"key": "book", "handler": "sql", "with": {"statement": "insert into ledger select ($1->'run'->>'n')::bigint returning run"}}]"#,
            input: #"{"n": 7}"#,
            runs: 40
        )
        try await fixture.with(fixture.agent(), fixture.agent()) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(try await fixture.psql("SELECT count(*), min(run), max(run) FROM ledger") == "40|7|7")
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func aStatementThatCannotReachItsOwnDatabaseFails(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        try await fixture.psql(
            """
            CREATE FUNCTION unreachable() RETURNS int LANGUAGE plpgsql AS
            $f$ BEGIN RAISE EXCEPTION 'the other server is down' USING ERRCODE = '08001'; END $f$
            """
        )
        let runs = try await fixture.submit(
            #"[{"key": "sql", "handler": "sql", "with": {"statement": "select public.unreachable()"}}]"#
        )
        try await fixture.with(fixture.agent()) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        #expect(try await fixture.step("error", "sql", of: runs[0]) == "08001: the other server is down")
    }

    // MARK: Being told to stop

    @Test(arguments: PostgresCluster.Tier.allCases) func aCancelReachesTheHandler(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let (started, stopped) = (Flag(), Flag())
        var handlers = Handlers()
        handlers.register("long") { _ in
            started.raise()
            do {
                try await Task.sleep(for: .seconds(1000))
            } catch {
                stopped.raise()
                throw error
            }
            return .none
        }
        let runs = try await fixture.submit(#"[{"key": "long", "handler": "long"}]"#)
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await eventually("the step runs") { started.isRaised }
            try await fixture.psql("SELECT millrace.cancel(\(runs[0]))")
            try await eventually("the handler is told") { stopped.isRaised }
            #expect(try await fixture.step("state", "long", of: runs[0]) == "cancelled")
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func stoppingAHandlerStopsNoCall(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let journal = Journal()
        let steps = (1...8).map {
            #"{"key": "s\#($0)", "handler": "sleep", "with": {"seconds": 1000}, "timeout": 0.0\#($0)}"#
        }
        let runs = try await fixture.submit("[\(steps.joined(separator: ","))]")
        try await fixture.with(fixture.agent(journal: journal)) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        #expect(journal.errors.isEmpty)
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func aGracefulStopFinishesWhatRuns(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let (started, release) = (Flag(), Flag())
        var handlers = Handlers()
        handlers.register("gate") { _ in
            started.raise()
            try await eventually("the gate opens") { release.isRaised }
            return .json("1")
        }
        let runs = try await fixture.submit(
            #"[{"key": "gate", "handler": "gate"}, {"key": "next", "needs": ["gate"], "handler": "gate"}]"#
        )
        try await fixture.with(fixture.agent(handlers: handlers)) { services in
            try await eventually("the step runs") { started.isRaised }
            await services.triggerGracefulShutdown()
            release.raise()
        }
        #expect(try await fixture.step("state", "gate", of: runs[0]) == "completed")
        #expect(try await fixture.step("state", "next", of: runs[0]) == "ready")
        #expect(try await fixture.psql("SELECT count(*) FROM millrace.agents") == "0")
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func afterTheGracePeriodStepsAreGivenBack(
        tier: PostgresCluster.Tier
    ) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(#"[{"key": "long", "handler": "sleep", "with": {"seconds": 1000}}]"#)
        try await fixture.with(fixture.agent { $0.shutdown.gracePeriod = .milliseconds(10) }) { _ in
            try await eventually("the step runs") { try await fixture.step("state", "long", of: runs[0]) == "running" }
        }
        #expect(try await fixture.step("state || ' ' || attempts", "long", of: runs[0]) == "ready 0")
    }

    @Test(arguments: PostgresCluster.Tier.allCases) func aCancelledAgentGivesBackWhatItHeld(tier: PostgresCluster.Tier)
        async throws
    {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(
            #"[{"key": "long", "handler": "shell", "with": {"command": ["sleep", "1000"]}}]"#
        )
        let agent = fixture.agent()
        let running = Task { try await agent.run() }
        try await eventually("the step runs") { try await fixture.step("state", "long", of: runs[0]) == "running" }
        running.cancel()
        _ = await running.result
        #expect(try await fixture.step("state || ' ' || attempts", "long", of: runs[0]) == "ready 0")
        #expect(try await fixture.psql("SELECT count(*) FROM millrace.agents") == "0")
    }
}

/// Something that has happened.
final class Flag: Sendable {
    private let raised = Mutex(false)

    var isRaised: Bool { raised.withLock { $0 } }

    func raise() { raised.withLock { $0 = true } }
}
