import Postgres

/// What the server has written so far, for comparing two moments.
public struct Traffic: Sendable, Hashable {
    /// Bytes of write-ahead log since the server's first day.
    public var walBytes: Double
    /// Rows inserted, changed and deleted in this database.
    public var writes: Int64
    /// Rows changed, and those changed without touching an index, in all tables of this database.
    public var updates: Int64
    public var hotUpdates: Int64
}

/// How long a range of runs took, by the log of events.
public struct RunsTiming: Sendable, Hashable {
    /// From the first submit to the last end, in seconds.
    public var seconds: Double
    public var completedRuns: Int
    public var endedRuns: Int
    public var completedSteps: Int
}

extension Client {
    /// The counters cover the whole server (log) and database (rows); let nothing else work meanwhile.
    public func traffic() async throws(MillraceError) -> Traffic {
        let sql = """
            select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::float8,
                   d.tup_inserted + d.tup_updated + d.tup_deleted, t.updates, t.hot_updates
            from pg_catalog.pg_stat_database d,
                 (select coalesce(sum(n_tup_upd), 0)::bigint as updates, coalesce(sum(n_tup_hot_upd), 0)::bigint as hot_updates
                  from pg_catalog.pg_stat_user_tables) t
            where d.datname = pg_catalog.current_database()
            """
        return try await row(sql) { row throws(PostgresError) in
            Traffic(
                walBytes: try row.double(0),
                writes: try row.int64(1),
                updates: try row.int64(2),
                hotUpdates: try row.int64(3)
            )
        }
    }

    /// The first of a version's runs, from one on, that is not over; nil where all are.
    public func firstBusyRun(from run: Int64, versionId: Int) async throws(MillraceError) -> Int64? {
        let sql = """
            select run_id from millrace.runs
            where run_id >= $1 and version_id = $2 and finished_at is null order by run_id limit 1
            """
        return try await rows(sql, [.int64(run), .int32(Int32(versionId))]) { row throws(PostgresError) in
            try row.int64(0)
        }.first
    }

    /// - Parameter runs: The runs' ids.
    public func timing(of runs: [Int64]) async throws(MillraceError) -> RunsTiming {
        let sql = """
            select coalesce(extract(epoch from max(at) filter (where kind in ('run_completed', 'run_failed', 'run_cancelled'))
                                             - min(at) filter (where kind = 'run_submitted')), 0)::float8,
                   count(*) filter (where kind = 'run_completed'),
                   count(*) filter (where kind in ('run_completed', 'run_failed', 'run_cancelled')),
                   count(*) filter (where kind = 'step_completed')
            from millrace.events where run_id = any ($1)
            """
        return try await row(sql, [.int64s(runs)]) { row throws(PostgresError) in
            RunsTiming(
                seconds: try row.double(0),
                completedRuns: Int(try row.int64(1)),
                endedRuns: Int(try row.int64(2)),
                completedSteps: Int(try row.int64(3))
            )
        }
    }
}
