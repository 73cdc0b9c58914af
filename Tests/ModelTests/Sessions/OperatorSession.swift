import Postgres

/// Cancels, pauses, resumes, retries and resolves whatever runs there are.
struct OperatorSession {
    private var session: Session

    init(_ session: Session) { self.session = session }

    mutating func run(until end: WorkEnd) async throws {
        while !end.isReached {
            try await steer()
            try await session.pause(upTo: 10)
        }
    }

    private mutating func steer() async throws {
        let runs = session.ledger.snapshot.runs
        // Mostly young runs: the old ones have ended.
        let candidates = runs.keys.sorted().suffix(session.random.chance(0.8) ? 20 : runs.count)
        guard let runID = candidates.randomElement(using: &session.random), let plan = runs[runID] else { return }
        let key = session.random.pick(plan.workflow.steps).key
        // A notification, which most of these calls send, does not go with a prepared transaction.
        let fate: Session.Fate = session.random.pick(weighted: [
            .autocommit: 10, .committed: 1, .rolledBack: 1, .undone: 1, .repeated: 1,
        ])
        let id = Parameter.int64(runID)
        switch session.random.int(0...99) {
        case ..<10:
            try await call("cancel", fate, "SELECT millrace.cancel($1, 'model')", [id], "MR031")
        case ..<30:
            try await call("pause", fate, "SELECT millrace.pause($1)", [id], "MR032")
        case ..<60:
            try await call("resume", fate, "SELECT millrace.resume($1)", [id], "MR033")
        case ..<75:
            try await call("retry", fate, "SELECT millrace.retry($1)", [id], "MR034")
        case ..<85:
            try await call("retry one", fate, "SELECT millrace.retry($1, $2)", [id, .text(key)], "MR034")
        default:
            let failed = try await failedKey(of: runID) ?? key
            try await call(
                "resolve",
                fate,
                "SELECT millrace.resolve($1, $2, '{\"resolved\": true}')",
                [id, .text(failed)],
                "MR035"
            )
        }
    }

    private mutating func call(
        _ name: String,
        _ fate: Session.Fate,
        _ sql: String,
        _ parameters: [Parameter],
        _ refusal: String
    ) async throws {
        _ = try await session.perform(name, fate, refusals: [refusal]) { try await $0.query(sql, parameters) }
    }

    private mutating func failedKey(of runID: Int64) async throws -> String? {
        try await session.perform("look") {
            try await $0.query(
                "SELECT key FROM millrace.steps WHERE run_id = $1 AND state = 'failed' LIMIT 1",
                [.int64(runID)]
            )
        }?.first?.decode(0)
    }
}
