import Postgres

extension Client {
    /// How many events runs have written.
    ///
    /// - Parameter runs: The runs' ids.
    public func eventCount(of runs: [Int64]) async throws(MillraceError) -> Int {
        let sql = "select count(*)::bigint from millrace.events where run_id = any($1)"
        return try await row(sql, [.int64s(runs)]) { row throws(PostgresError) in try row.int(0) }
    }

    /// When events were committed, by the database's clock, in seconds since 1970; empty where the server does not keep
    /// that (`track_commit_timestamp`).
    public func commitTimes(ofEvents ids: ClosedRange<Int64>) async throws(MillraceError) -> [Int64: Double] {
        let sql = """
            select event_id, extract(epoch from pg_xact_commit_timestamp((xact_id % 4294967296)::text::xid))::float8
            from millrace_internal.event
            where event_id between $1 and $2 and current_setting('track_commit_timestamp')::boolean
            """
        let times = try await rows(sql, [.int64(ids.lowerBound), .int64(ids.upperBound)]) { row throws(PostgresError) in
            (try row.int64(0), try row.double(1))
        }
        return Dictionary(times) { $1 }
    }

    /// Keeps a transaction open that has submitted a run, while `body` goes on; commits it then, and cancels the run.
    public func withOpenWriter<Result: Sendable>(
        workflow: String,
        _ body: () async throws -> Result
    ) async throws -> Result {
        let (run, result) = try await pool.transaction { connection in
            let answer = try await connection.query("select millrace.submit($1)", [.text(workflow)])
            return (try answer[0].int64(0), try await body())
        }
        try await cancel(run)
        return result
    }
}
