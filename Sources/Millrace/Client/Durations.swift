import Postgres

/// How far the durations of a version have been learnt.
public struct LearntDurations: Sendable, Hashable {
    /// Steps of the version with an estimate.
    public var steps: Int
    /// Whether the present ranks are made from all of them.
    public var isRanked: Bool
}

extension Client {
    public func learntDurations(versionId: Int) async throws(MillraceError) -> LearntDurations {
        let sql = """
            select (select count(*) from millrace_internal.duration where version_id = $1),
                   exists (select from millrace_internal.rank where version_id = $1)
                   and not exists (select from millrace_internal.learning where $1 = any (unranked))
            """
        return try await row(sql, [.int32(Int32(versionId))]) { row throws(PostgresError) in
            LearntDurations(steps: Int(try row.int64(0)), isRanked: try row.bool(1))
        }
    }
}
