import Foundation
import Millrace
import Postgres

/// Replays the log of a database, and compares what the model makes of it with what the engine shows.
struct Verdict {
    let connection: Connection
    let storm: Storm
    var complaints: [String] = []
    private(set) var events = 0
    private(set) var runs = 0

    init(connection: Connection, storm: Storm) {
        (self.connection, self.storm) = (connection, storm)
    }

    mutating func judge() async throws {
        let log = try await LoggedEvent.all(on: connection)
        let world = try await world(of: log)
        (events, runs) = (log.count, world.runs.count)
        for (run, contradiction) in world.replay(log).sorted(by: { $0.key < $1.key }) {
            complain("\(contradiction)", of: world.runs[run]!)
        }
        guard complaints.isEmpty else { return }
        try await compareRuns(in: world)
        try await compareSteps(in: world)
        try await judgeArtifacts(in: world)
        try await judgeLeftovers()
    }

    mutating func complain(_ text: String, of run: RunModel) {
        let lines = run.log.map { "    \($0)" }.joined(separator: "\n")
        complaints.append("run \(run.runID): \(text)\n  input \(run.input.json)\n  of \(run.plan.json.json), version \(run.version)\n\(lines)")
    }

    /// Which runs there are, of what, and how their steps are numbered.
    private func world(of log: [LoggedEvent]) async throws -> World {
        let rows = try await connection.query("SELECT run_id, workflow, version, input::text, priority FROM millrace.runs")
        let migrations = Dictionary(grouping: log.filter { $0.kind == "run_migrated" }, by: \.runID)
        var lastVersions: [Int64: Int] = [:]
        for row in rows { lastVersions[try row.decode(0)] = Int(try row.decode(2, as: Int32.self)) }
        let lostLimit: Int32 = try await connection.query(
            "SELECT millrace_internal.setting('millrace.lost_limit')::int"
        )[0].decode(0)
        let world = World(
            lostLimit: lostLimit,
            workflows: storm.workflows,
            numbers: try await numbers(),
            lastVersions: lastVersions,
            growing: Set(log.lazy.filter { $0.kind == "run_grown" }.map(\.runID)),
            stillForks: storm.stillForks,
            signals: storm.signals
        )
        for row in rows {
            let run: Int64 = try row.decode(0)
            world.runs[run] = try RunModel(
                run,
                of: try row.decode(1),
                version: migrations[run]?.first?.data?["from_version"]?.int ?? lastVersions[run]!,
                input: try JSONValue(json: row.optionalString(3) ?? "null"),
                priority: Int(try row.decode(4, as: Int32.self)),
                isPostponed: storm.postponed.contains(run),
                in: world
            )
        }
        return world
    }

    private func numbers() async throws -> World.Numbers {
        var numbers = World.Numbers()
        for row in try await connection.query("SELECT workflow, version, key, step_no, run_id FROM millrace.dependency_paths") {
            let (workflow, version): (String, Int32) = (try row.decode(0), try row.decode(1))
            let (key, number): (String, Int32) = (try row.decode(2), try row.decode(3))
            if let run: Int64 = try row.decode(4, as: Int64?.self) {
                numbers.ofRuns[run, default: [:]][key] = number
            } else {
                numbers.ofVersions[workflow, default: [:]][Int(version), default: [:]][key] = number
            }
        }
        return numbers
    }

    private mutating func compareRuns(in world: World) async throws {
        for row in try await connection.query("SELECT run_id, state FROM millrace.runs ORDER BY run_id") {
            let (run, state): (Int64, String) = (try row.decode(0), try row.decode(1))
            let model = world.runs[run]!
            if model.state.rawValue != state { complain("is stored as \(state), the log has \(model.state)", of: model) }
        }
    }

    private mutating func compareSteps(in world: World) async throws {
        let rows = try await connection.query(
            """
            SELECT s.run_id, s.step_no, s.state, s.attempts, s.output::text, i.state = 14
            FROM millrace.steps s LEFT JOIN millrace_internal.step i USING (run_id, step_no) ORDER BY 1, 2
            """
        )
        var seen: [Int64: Set<Int32>] = [:]
        for row in rows {
            let (run, number): (Int64, Int32) = (try row.decode(0), try row.decode(1))
            let model = world.runs[run]!
            seen[run, default: []].insert(number)
            guard let step = model.steps[number] else {
                complain("step \(number) is stored, the log has none", of: model)
                continue
            }
            let (state, attempts): (String, Int32) = (try row.decode(2), try row.decode(3))
            let isFallen = try row.decode(5, as: Bool?.self) ?? false
            let output = try row.optionalString(4).map { try JSONValue(json: $0) }
            if state != step.state.name || (step.state == .fallen) != isFallen {
                complain("\(step.name) is stored as \(state), the log has \(step.state)", of: model)
            } else if attempts != step.attempts {
                complain("\(step.name) has \(attempts) attempts, the log \(step.attempts)", of: model)
            } else if case .known(let expected) = step.output, output != expected {
                complain("\(step.name) has the output \(output?.json ?? "none"), not \(expected?.json ?? "none")", of: model)
            }
        }
        for model in world.runs.values.sorted(by: { $0.runID < $1.runID }) {
            for step in model.steps.values where step.place == nil || step.isTold && !step.isForgotten {
                if seen[model.runID]?.contains(step.number) != true { complain("\(step.name) is not stored", of: model) }
            }
        }
    }

    /// Nothing may be left over once every run has ended.
    private mutating func judgeLeftovers() async throws {
        let leftovers: KeyValuePairs = [
            "waits": "SELECT count(*) FROM millrace_internal.wait",
            "members of batches": "SELECT count(*) FROM millrace_internal.batch_member",
            "rows in ready": "SELECT count(*) FROM millrace_internal.ready",
            "steps in the dispatcher": "SELECT coalesce(sum(depth), 0)::bigint FROM millrace_internal.dispatcher_stats()",
            "runs with a wrong number of failed steps": """
            SELECT count(*) FROM millrace_internal.run r WHERE steps_failed <>
                (SELECT count(*) FROM millrace_internal.step s
                 JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
                 WHERE s.run_id = r.run_id AND s.state = 11 AND s.step_no <= 1000000 AND d.on_error IS NULL)
            """,
        ]
        for (what, query) in leftovers {
            let count: Int = try await connection.query(query)[0].decode(0)
            if count != 0 { complaints.append("\(what): \(count)") }
        }
    }

    /// What the server has told of deadlocks, and of who waited before. They are no contradiction: the call is repeated.
    var deadlocks: [String] {
        get throws {
            let lines = try String(contentsOfFile: storm.cluster.logFile, encoding: .utf8).split(separator: "\n")
            let told = lines.indices.filter { lines[$0].contains("deadlock detected") }
            return told.map { lines[max($0 - 60, 0)..<min($0 + 20, lines.count)].joined(separator: "\n") }
        }
    }
}
