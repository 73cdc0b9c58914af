import Postgres

extension Client {
    /// How many events runs have written.
    ///
    /// - Parameter runs: The runs' ids.
    public func eventCount(of runs: [Int64]) async throws(MillraceError) -> Int {
        let sql = "select count(*)::bigint from millrace.events where run_id = any($1)"
        return try await row(sql, [.int64s(runs)]) { row throws(PostgresError) in try row.int(0) }
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
