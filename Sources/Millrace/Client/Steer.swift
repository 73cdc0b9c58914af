import Postgres

extension Client {
    /// Ends a run: nothing more of it is started, and what runs is taken from its agents.
    public func cancel(_ run: Int64, reason: String? = nil) async throws(MillraceError) {
        _ = try await query("select millrace.cancel(run_id => $1, reason => $2)", [.int64(run), .text(reason)])
    }

    /// Hands out nothing more of a run until it is resumed; what runs goes on.
    public func pause(_ run: Int64) async throws(MillraceError) {
        _ = try await query("select millrace.pause(run_id => $1)", [.int64(run)])
    }

    public func resume(_ run: Int64) async throws(MillraceError) {
        _ = try await query("select millrace.resume(run_id => $1)", [.int64(run)])
    }

    /// Tries failed steps of a run again, and what hung on them.
    ///
    /// - Parameter key: One step; all failed ones where nil.
    /// - Returns: How many steps became ready.
    @discardableResult
    public func retry(_ run: Int64, key: String? = nil) async throws(MillraceError) -> Int {
        let sql = "select millrace.retry(run_id => $1, key => $2)"
        return try await row(sql, [.int64(run), .text(key)]) { row throws(PostgresError) in try row.int(0) }
    }

    /// Lets a failed step count as completed.
    ///
    /// - Parameters:
    ///   - output: What it should have answered.
    ///   - resolvedBy: Who says so; the database role where nil.
    public func resolve(
        _ run: Int64,
        key: String,
        output: JSONValue? = nil,
        resolvedBy: String? = nil,
        reason: String? = nil
    ) async throws(MillraceError) {
        let sql = """
            select millrace.resolve(run_id => $1, key => $2, output => $3, resolved_by => coalesce($4, current_user),
                reason => $5)
            """
        _ = try await query(
            sql,
            [.int64(run), .text(key), .json(output?.json), .text(resolvedBy), .text(reason)]
        )
    }
}
