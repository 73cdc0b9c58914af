import Foundation
import Millrace
import MillraceTestSupport
import Postgres

/// Random workflows are submitted and steered, agents are killed and replaced, until every run has ended.
struct Storm {
    let cluster: PostgresCluster
    let database: PostgresConfiguration
    /// How many workflows, each with two runs.
    let size: Int
    var random: SeededRandom
    /// The server is killed once, in the middle.
    var crashes = false

    private let agents: AgentProcesses
    private var connection: Connection
    /// Each with all its versions.
    private(set) var workflows: [String: [PlannedWorkflow]] = [:]
    private(set) var signals: Set<String> = []
    private(set) var postponed: Set<Int64> = []
    /// Forks of runs that had ended, so that nobody was at these meanwhile.
    private(set) var stillForks: Set<Int64> = []
    /// How often each act was done, or refused.
    private(set) var acts: [String: Int] = [:]
    private var submitted: [Int64] = []
    private var leaves: [String] = []

    init(cluster: PostgresCluster, database: PostgresConfiguration, size: Int, seed: UInt64) async throws {
        (self.cluster, self.database, self.size) = (cluster, database, size)
        random = SeededRandom(seed: seed)
        agents = AgentProcesses(url: cluster.url(database: database.database ?? ""), count: 3)
        connection = try await Connection.connect(database)
    }

    var summary: String {
        let acts = acts.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
        return "\(workflows.count) workflows, \(submitted.count) runs submitted, \(agents.deaths) agents died; \(acts)"
    }

    mutating func run() async throws {
        try await defineChildren()
        var defined = 0
        var turn = 0
        while defined < size {
            try agents.fill()
            let alive = try await runsAlive()
            if alive.count < 40 {
                try await submitNext(defined)
                defined += 1
                if crashes, defined == size / 2 { try await crash() }
            } else {
                try await Task.sleep(for: .milliseconds(10))
            }
            for _ in 0..<2 { try await act(on: alive) }
            turn += 1
        }
        do {
            try await calm()
        } catch {
            await agents.stop()
            throw error
        }
        await agents.stop()
    }

    // MARK: Submitting

    /// Workflows without steps that are runs, and some whose steps are runs of these.
    private mutating func defineChildren() async throws {
        for number in 1...6 {
            let workflow = PlannedWorkflow.random(name: "leaf_\(number)", sizes: 1...3, children: [], using: &random)
            try await define(workflow)
            leaves.append(workflow.name)
        }
        let first = leaves
        for number in 1...4 {
            let workflow = PlannedWorkflow.random(name: "branch_\(number)", sizes: 2...4, children: first, using: &random)
            try await define(workflow)
            leaves.append(workflow.name)
        }
    }

    private mutating func define(_ workflow: PlannedWorkflow) async throws {
        do {
            _ = try await connection.query("SELECT FROM millrace.define_workflow($1)", [.json(workflow.json.json)])
        } catch {
            throw Contradiction("\(error)\n\(error.detail ?? "")\n\(workflow.json.json)")
        }
        workflows[workflow.name, default: []].append(workflow)
    }

    private mutating func submitNext(_ number: Int) async throws {
        let workflow = PlannedWorkflow.random(
            name: "random_\(number)",
            sizes: random.chance(0.1) ? 15...25 : 3...10,
            children: leaves,
            using: &random
        )
        try await define(workflow)
        for _ in 0..<2 {
            let items = (0..<random.int(0...4)).map { JSONValue.integer(Int64($0)) }
            let input: JSONValue = [
                "n": .integer(Int64(random.int(0...4))),
                "items": random.chance(0.05) ? "none" : .array(items),
                "other": submitted.randomElement(using: &random).map { .integer($0) } ?? nil,
            ]
            let isPostponed = random.chance(0.1)
            let answer = try await connection.query(
                """
                SELECT millrace.submit($1, $2, priority => $3, tenant => $4,
                    not_before => clock_timestamp() + make_interval(secs => $5))
                """,
                [
                    .text(workflow.name), .json(input.json),
                    .int32(Int32(random.pick(weighted: [0: 6, -4: 1, 5: 1]))),
                    .text(random.pick(weighted: ["": 4, "other": 1])), .double(isPostponed ? 0.1 : nil),
                ]
            )
            let run: Int64 = try answer[0].decode(0)
            submitted.append(run)
            if isPostponed { postponed.insert(run) }
        }
        if random.chance(0.5) { try await redefine(workflow.name) }
    }

    // MARK: Steering

    private struct Alive {
        var run: Int64
        var workflow: String
    }

    private func runsAlive() async throws -> [Alive] {
        try await connection.query("SELECT run_id, workflow FROM millrace.runs WHERE finished_at IS NULL ORDER BY run_id")
            .map { Alive(run: try $0.decode(0), workflow: try $0.decode(1)) }
    }

    private mutating func act(on alive: [Alive]) async throws {
        guard let one = alive.randomElement(using: &random), let any = submitted.randomElement(using: &random) else { return }
        switch random.int(0...99) {
        case ..<30: try await signal(one)
        case ..<50: try await answer(most: 3)
        case ..<54: try await call("pause", "SELECT millrace.pause($1)", [.int64(one.run)])
        case ..<66: try await call("resume", "SELECT millrace.resume($1)", [.int64(one.run)])
        case ..<68: try await call("cancel", "SELECT millrace.cancel($1, 'no longer wanted')", [.int64(one.run)])
        case ..<72: try await call("retry", "SELECT millrace.retry($1)", [.int64(any)])
        case ..<75:
            let sql = """
                SELECT millrace.retry(s.run_id, s.key) FROM (SELECT run_id, key FROM millrace.steps
                    WHERE run_id = $1 AND state = 'failed' AND element IS NULL ORDER BY step_no LIMIT 1) s
                """
            try await call("retry of a step", sql, [.int64(any)])
        case ..<80:
            let sql = """
                SELECT millrace.resolve(s.run_id, s.key, $2) FROM (SELECT run_id, key FROM millrace.steps
                    WHERE run_id = $1 AND state = 'failed' AND element IS NULL ORDER BY step_no DESC LIMIT 1) s
                """
            try await call("resolve", sql, [.int64(any), .json(World.resolution.json)])
        case ..<84: try await steerCompensation()
        case ..<88: try await fork(random.chance(0.3) ? one.run : any)
        case ..<90: try await redefine(one.workflow)
        case ..<96: try await migrate(oneOf: alive)
        case ..<99:
            agents.killOne(using: &random)
            acts["kill", default: 0] += 1
        default: break
        }
    }

    /// What could not be undone is retried, or resolved; a run that is being undone is cancelled.
    private mutating func steerCompensation() async throws {
        func one(_ condition: String) -> String {
            "(SELECT run_id, key FROM millrace.steps WHERE key LIKE 'compensate:%' AND \(condition) ORDER BY random() LIMIT 1) s"
        }
        let (failed, alive) = (one("state IN ('failed', 'cancelled')"), one("state IN ('ready', 'running', 'waiting')"))
        switch random.int(0...3) {
        case 0: try await call("retry of a compensation", "SELECT millrace.retry(s.run_id, s.key) FROM \(failed)", [])
        case 1:
            let sql = "SELECT millrace.resolve(s.run_id, s.key, $1) FROM \(failed)"
            try await call("resolve of a compensation", sql, [.json(World.resolution.json)])
        default: try await call("cancel amid undoing", "SELECT millrace.cancel(s.run_id, 'as it is') FROM \(alive)", [])
        }
    }

    private mutating func signal(_ one: Alive) async throws {
        guard let name = workflows[one.workflow]?.flatMap(\.signals).randomElement(using: &random) else { return }
        signals.insert("\(one.run) \(name)")
        let parameters: [Parameter] = [.int64(one.run), .text(name), .json(World.payload.json)]
        try await call("signal", "SELECT millrace.signal($1, $2, $3)", parameters)
    }

    private mutating func fork(_ run: Int64) async throws {
        let row = try await connection.query(
            "SELECT workflow, finished_at IS NOT NULL FROM millrace.runs WHERE run_id = $1", [.int64(run)]
        )[0]
        let workflow: String = try row.decode(0)
        let parameters: [Parameter] = [.int64(run), .text(random.pick(workflows[workflow]!.last!.steps).key)]
        guard let answer = try await call("fork", "SELECT millrace.fork($1, $2)", parameters)?.first else { return }
        let fork: Int64 = try answer.decode(0)
        submitted.append(fork)
        if try row.decode(1) { stillForks.insert(fork) }
    }

    private mutating func redefine(_ workflow: String) async throws {
        let versions = workflows[workflow]!
        let changed = versions.last!.changed(version: versions.count + 1, using: &random)
        guard versions.allSatisfy({ $0.json != changed.json }) else { return }
        try await define(changed)
        acts["new version", default: 0] += 1
    }

    /// To any version that there is, or only asks what that would change.
    private mutating func migrate(oneOf alive: [Alive]) async throws {
        let several = alive.filter { workflows[$0.workflow]!.count > 1 }
        guard let one = several.randomElement(using: &random) else { return }
        let count = workflows[one.workflow]!.count
        let parameters: [Parameter] = [.int64(one.run), .int32(Int32(random.int(1...count))), .bool(random.chance(0.2))]
        try await call("migrate", "SELECT FROM millrace.migrate_run($1, $2, $3)", parameters)
    }

    private mutating func answer(most: Int) async throws {
        let sql = """
            SELECT millrace.complete_human_step(i.run_id, i.key, $1, 'ann', i.step_no)
            FROM (SELECT run_id, key, step_no FROM millrace.inbox ORDER BY run_id, step_no LIMIT $2) i
            """
        try await call("answer", sql, [.json(World.answer.json), .int64(Int64(most))])
    }

    /// What does not fit the state of a run is refused.
    @discardableResult
    private mutating func call(_ name: String, _ sql: String, _ parameters: [Parameter]) async throws -> QueryResult? {
        do {
            let rows = try await connection.query(sql, parameters)
            acts[name, default: 0] += 1
            return rows
        } catch {
            guard let state = error.sqlState, state.hasPrefix("MR0") else { throw error }
            acts["\(name) refused (\(state))", default: 0] += 1
            return nil
        }
    }

    private mutating func crash() async throws {
        try await cluster.crash()
        try await cluster.start()
        connection = try await Connection.connect(database)
        acts["crash", default: 0] += 1
    }

    private func whatIsLeft(of alive: [Alive]) async throws -> Contradiction {
        let sql = """
            SELECT format('%s, %s[%s]: %s, state %s, agent %s, token %s, until %s, wait %s, timers %s', s.run_id, v.key, s.element,
                          v.state, s.state, s.agent_id, s.token, s.ready_at, to_jsonb(w),
                          (SELECT jsonb_agg(t) FROM millrace_internal.timer t WHERE t.run_id = s.run_id))
            FROM millrace_internal.step s JOIN millrace.steps v USING (run_id, step_no)
            LEFT JOIN millrace_internal.wait w USING (run_id, step_no)
            WHERE s.run_id = $1 AND s.state < 10 ORDER BY s.step_no
            """
        var lines: [String] = []
        for one in alive.prefix(20) {
            lines.append("run \(one.run) of \(workflows[one.workflow]!.map(\.json.json).joined(separator: ", or "))")
            for row in try await connection.query(sql, [.int64(one.run)]) { lines.append("  " + (try row.decode(0))) }
        }
        let others = """
            SELECT format('agent %s %s, seen %s, lease until %s, holds %s', agent_id, state, seen_at, lease_expires_at, held)
            FROM millrace.agents
            UNION ALL
            SELECT format('backend %s %s since %s, waits for %s %s, blocked by %s: %s', pid, state, state_change, wait_event_type,
                          wait_event, pg_blocking_pids(pid), left(query, 200))
            FROM pg_stat_activity WHERE backend_type = 'client backend' OR backend_type LIKE 'millrace%'
            """
        for row in try await connection.query(others) { lines.append(try row.decode(0)) }
        lines.append(try String(contentsOfFile: cluster.logFile, encoding: .utf8).split(separator: "\n").suffix(20).joined(separator: "\n"))
        return Contradiction("\(alive.count) runs do not end:\n" + lines.joined(separator: "\n"))
    }

    /// Windows that open on another day.
    private mutating func cancelWhatWaitsForDays() async throws {
        let sql = """
            SELECT DISTINCT run_id FROM millrace_internal.step
            WHERE state = 1 AND ready_at > clock_timestamp() + interval '12 hours' ORDER BY run_id
            """
        for row in try await connection.query(sql) {
            let run: Int64 = try row.decode(0)
            try await call("cancel", "SELECT millrace.cancel($1, 'its window is far')", [.int64(run)])
        }
    }

    /// All that is waited for comes, and nothing else, until every run has ended.
    private mutating func calm() async throws {
        let limit = ContinuousClock.now + .seconds(120)
        while case let alive = try await runsAlive(), !alive.isEmpty {
            guard ContinuousClock.now < limit else { throw try await whatIsLeft(of: alive) }
            try agents.fill()
            try await call("resume", "SELECT millrace.resume(run_id) FROM millrace.runs WHERE state = 'paused'", [])
            for one in alive {
                for name in Set(workflows[one.workflow]!.flatMap(\.signals)) {
                    signals.insert("\(one.run) \(name)")
                    let parameters: [Parameter] = [.int64(one.run), .text(name), .json(World.payload.json)]
                    try await call("signal", "SELECT millrace.signal($1, $2, $3)", parameters)
                }
            }
            try await answer(most: 1000)
            try await cancelWhatWaitsForDays()
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
