import MillraceTestSupport
import Postgres

/// Many runs of two workflows: steps of 20 ms, and `sql` steps whose effect is a row in a table that takes any number.
struct ChaosWork: Sendable {
    let configuration: PostgresConfiguration
    /// Of all runs together.
    let steps: Int
    private let runs: Int

    /// Steps of one run of each workflow, and the effects among them.
    private static let size = (steps: 15, effects: 5)

    init(configuration: PostgresConfiguration, steps: Int) {
        self.configuration = configuration
        runs = max(1, steps / Self.size.steps)
        self.steps = runs * Self.size.steps
    }

    func submit() async throws {
        let connection = try await Connection.connect(configuration)
        _ = try await connection.execute(script: "CREATE TABLE effect (number int, key text)")
        for definition in [Self.chain, Self.diamond] {
            _ = try await connection.query("SELECT millrace.define_workflow($1)", [.json(definition)])
        }
        for (workflow, part) in [("chain", runs), ("diamond", runs)] {
            _ = try await connection.query(
                """
                SELECT millrace.submit_many($1, ARRAY(SELECT jsonb_build_object('number', n) FROM generate_series(1, $2) n))
                """,
                [.text(workflow), .int32(Int32(part))]
            )
        }
    }

    private static func step(_ key: String, after needs: [String] = []) -> String {
        let needs = needs.map { "\"\($0)\"" }.joined(separator: ", ")
        return #"{"key": "\#(key)", "handler": "sleep", "with": {"seconds": 0.02}, "needs": [\#(needs)]}"#
    }

    private static func effect(_ key: String, after needs: [String]) -> String {
        let needs = needs.map { "\"\($0)\"" }.joined(separator: ", ")
        let statement = "insert into effect values (($1->'run'->>'number')::int, '\(key)') returning key"
        return #"{"key": "\#(key)", "handler": "sql", "with": {"statement": "\#(statement)"}, "needs": [\#(needs)]}"#
    }

    private static func definition(_ name: String, _ steps: [String]) -> String {
        """
        {"workflow": "\(name)", "defaults": {"retry": {"limit": 5, "backoff": 0.05}}, \
        "steps": [\(steps.joined(separator: ", "))]}
        """
    }

    /// Ten steps, each third an effect.
    private static let chain = definition(
        "chain",
        (1...10).map { number in
            let needs = number == 1 ? [] : ["c\(number - 1)"]
            return number.isMultiple(of: 3) ? effect("c\(number)", after: needs) : step("c\(number)", after: needs)
        }
    )

    private static let diamond = definition(
        "diamond",
        [
            step("top"), step("left", after: ["top"]), effect("right", after: ["top"]),
            step("middle", after: ["top"]), effect("bottom", after: ["left", "right", "middle"]),
        ]
    )

    /// How many steps are completed; -1 while the server does not answer.
    func completed() async -> Int {
        do {
            let connection = try await Connection.connect(configuration)
            return try await connection.query("SELECT count(*) FROM millrace_internal.step WHERE state = 10")[0].decode(
                0
            )
        } catch {
            return -1
        }
    }

    /// Where it stands, for a failure's report.
    func situation() async throws -> String {
        let connection = try await Connection.connect(configuration)
        let rows = try await connection.query(
            """
            SELECT format('%s steps %s: %s', count(*), state, min(coalesce(error, ''))) FROM millrace.steps GROUP BY state
            UNION ALL SELECT format('agent %s %s, lease until %s, holds %s', name, state, lease_expires_at, held) FROM millrace.agents
            """
        )
        return try rows.map { try $0.decode(0) }.joined(separator: "\n")
    }

    /// What is not as it would be had nothing been killed; and attempts that the log does not explain.
    func complaints() async throws -> [String] {
        let connection = try await Connection.connect(configuration)
        let expectations: KeyValuePairs = [
            "runs that did not complete": "SELECT count(*) FROM millrace.runs WHERE state <> 'completed'",
            "steps that did not complete once": """
            SELECT \(steps) - count(*) FROM (SELECT FROM millrace.events WHERE kind = 'step_completed'
                                             GROUP BY run_id, step_no HAVING count(*) = 1) once
            """,
            "effects that are missing":
                "SELECT \(runs * Self.size.effects) - count(DISTINCT (number, key)) FROM effect",
            "effects that are there twice": "SELECT count(*) - count(DISTINCT (number, key)) FROM effect",
            "tokens without a start": """
            SELECT count(*) FROM millrace.steps s WHERE s.token <>
                (SELECT count(*) FROM millrace.events e WHERE e.run_id = s.run_id AND e.step_no = s.step_no AND e.kind = 'step_started')
            """,
            "tries that no event has ended": """
            SELECT count(*) FROM millrace.steps s WHERE s.token <>
                (SELECT count(*) FROM millrace.events e WHERE e.run_id = s.run_id AND e.step_no = s.step_no
                 AND (e.kind IN ('step_completed', 'step_released') OR (e.kind = 'step_waiting' AND e.data ? 'outcome')))
            """,
            "attempts that nothing explains": """
            SELECT count(*) FROM millrace.steps s WHERE s.attempts <> s.token -
                (SELECT count(*) FROM millrace.events e WHERE e.run_id = s.run_id AND e.step_no = s.step_no
                 AND e.kind = 'step_released' AND e.data->>'reason' <> 'agent lost')
            """,
            "deadlocks": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
        ]
        var complaints: [String] = []
        for (what, query) in expectations {
            let count: Int = try await connection.query(query)[0].decode(0)
            if count != 0 { complaints.append("\(what): \(count)") }
        }
        return complaints
    }
}
