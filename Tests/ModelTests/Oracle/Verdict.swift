import Postgres

/// Compares what the engine has left behind with the log, and both with what the sessions were told.
struct Verdict {
    let connection: Connection
    let ledger: Ledger.Contents
    private(set) var complaints: [String] = []

    init(connection: Connection, ledger: Ledger.Contents) {
        self.connection = connection
        self.ledger = ledger
        complaints = ledger.complaints
    }

    mutating func judge() async throws {
        try await judgeTables()
        try await judgeRuns()
    }

    /// Nothing may be left over once every run has ended.
    private mutating func judgeTables() async throws {
        let leftovers: KeyValuePairs = [
            "runs that have not ended": "SELECT count(*) FROM millrace_internal.run WHERE finished_at IS NULL",
            "runs that wait for closing steps": "SELECT count(*) FROM millrace_internal.run WHERE closing_left <> 0",
            "steps that have not ended": "SELECT count(*) FROM millrace_internal.step WHERE state < 10",
            "steps without a row": """
            SELECT (SELECT coalesce(sum(v.steps), 0) FROM millrace_internal.run JOIN millrace_internal.version v USING (version_id))
                   - (SELECT count(*) FROM millrace_internal.step)
            """,
            "runs with a wrong number of failed steps": """
            SELECT count(*) FROM millrace_internal.run r WHERE steps_failed <>
                (SELECT count(*) FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.state = 11)
            """,
            "outputs of steps that have not completed": """
            SELECT count(*) FROM millrace_internal.output JOIN millrace_internal.step USING (run_id, step_no) WHERE state <> 10
            """,
            "receipts": "SELECT count(*) FROM millrace_internal.receipt",
            "rows in ready": "SELECT count(*) FROM millrace_internal.ready",
            "steps in the dispatcher":
                "SELECT coalesce(sum(depth), 0)::bigint FROM millrace_internal.dispatcher_stats()",
            "prepared transactions": "SELECT count(*) FROM pg_prepared_xacts",
            "deadlocks": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
        ]
        for (what, query) in leftovers {
            let count: Int = try await connection.query(query)[0].decode(0)
            if count != 0 { complaints.append("\(what): \(count)") }
        }
    }

    private mutating func judgeRuns() async throws {
        let lostLimit: Int32 = try await connection.query(
            "SELECT millrace_internal.setting('millrace.lost_limit')::int"
        )[0].decode(0)
        let logs = Dictionary(grouping: try await LoggedEvent.all(on: connection), by: \.runID)
        let states = try await runStates()
        let steps = Dictionary(grouping: try await StoredStep.all(on: connection), by: \.runID)
        if Set(states.keys) != Set(ledger.runs.keys) {
            complaints.append("runs that no committed submit made: \(Set(states.keys).subtracting(ledger.runs.keys))")
            complaints.append("runs that are missing: \(Set(ledger.runs.keys).subtracting(states.keys))")
        }
        for (runID, plan) in ledger.runs.sorted(by: { $0.key < $1.key }) {
            let log = logs[runID] ?? []
            let stored = steps[runID] ?? []
            let numbers = Dictionary(stored.map { ($0.key, $0.stepNo) }) { $1 }
            var oracle = try RunOracle(plan, numbers: numbers, lostLimit: lostLimit)
            do {
                for event in log {
                    do { try oracle.apply(event) } catch { throw OracleError("\(error), at \(event)") }
                }
                try require(
                    oracle.state.rawValue == states[runID],
                    "the run is stored as \(states[runID] ?? "nothing")"
                )
                for step in stored { try compare(step, with: oracle.steps[step.stepNo]!) }
            } catch {
                let lines = log.map { "    \($0)" }.joined(separator: "\n")
                complaints.append("run \(runID): \(error)\n  of \(plan.workflow.json)\n\(lines)")
            }
        }
    }

    private func runStates() async throws -> [Int64: String] {
        let rows = try await connection.query("SELECT run_id, state FROM millrace.runs")
        return Dictionary(uniqueKeysWithValues: try rows.map { (try $0.decode(0), try $0.decode(1)) })
    }

    private func compare(_ stored: StoredStep, with oracle: StepOracle) throws {
        let name = "step \(stored.stepNo) (\(stored.key))"
        try require(
            stored.state == oracle.state.name,
            "\(name) is stored as \(stored.state), the log has \(oracle.state.name)"
        )
        try require(
            stored.attempts == oracle.attempts,
            "\(name) has \(stored.attempts) attempts, the log \(oracle.attempts)"
        )
        try require(
            stored.token == oracle.starts.count,
            "\(name) has token \(stored.token), the log \(oracle.starts.count) starts"
        )
        try require(stored.finishedAt == oracle.endedAt, "\(name) ended at another time than the log has")
        for (index, start) in oracle.starts.enumerated() {
            let handOut = HandOut(runID: stored.runID, stepNo: stored.stepNo, token: Int32(index + 1))
            guard let end = start.end else { throw OracleError("\(handOut) has no end") }
            // What nobody was told of was ended by the call that started it: no input, too large, its run was cancelled.
            try require(
                ledger.handOuts.contains(handOut) || end.transaction == start.transaction,
                "\(handOut) was handed to nobody"
            )
            if let report = ledger.applied[handOut] {
                try require(
                    report.outcome.isShown(by: end.kind),
                    "\(report.outcome) of \(handOut) was acknowledged, the log has \(end)"
                )
            }
        }
        if oracle.state == .completed, !oracle.isResolved {
            let last = HandOut(runID: stored.runID, stepNo: stored.stepNo, token: stored.token)
            guard let report = ledger.applied[last] else { throw OracleError("\(name) was completed by nobody") }
            try require(
                stored.output == report.output,
                "\(name) has the output \(stored.output ?? "null"), not \(report.output ?? "null")"
            )
        }
        try require(
            ledger.handOuts.lazy.filter { $0.runID == stored.runID && $0.stepNo == stored.stepNo }
                .allSatisfy { $0.token <= stored.token && $0.token > 0 },
            "\(name) was handed out more often than it is stored"
        )
    }
}

extension Report.Outcome {
    /// Whether this is what becomes of a step that is reported so.
    func isShown(by kind: String) -> Bool {
        switch self {
        case .completed: kind == "step_completed"
        case .failed, .timedOut: kind == "step_failed" || kind == "step_waiting"
        case .fatal: kind == "step_failed"
        case .released: kind == "step_released"
        }
    }
}

/// A step as everyone sees it.
struct StoredStep: Sendable {
    var runID: Int64
    var stepNo: Int32
    var key: String
    var state: String
    var attempts: Int32
    var token: Int32
    var finishedAt: Timestamp?
    var output: String?

    static func all(on connection: Connection) async throws -> [StoredStep] {
        try await connection.query(
            "SELECT run_id, step_no, key, state, attempts, token, finished_at, output::text FROM millrace.steps"
        ).map { row in
            StoredStep(
                runID: try row.decode(0),
                stepNo: try row.decode(1),
                key: try row.decode(2),
                state: try row.decode(3),
                attempts: try row.decode(4),
                token: try row.decode(5),
                finishedAt: try row.decode(6),
                output: try row.decode(7)
            )
        }
    }
}
