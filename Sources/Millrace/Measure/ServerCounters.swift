import Postgres

/// What a database has done so far, by the server's own counters; for comparing two moments.
///
/// Sessions hand their counts in when they end, and else late: compare moments at which those of interest have ended.
public struct ServerCounters: Sendable, Hashable {
    public var commits: Int64
    public var bufferHits: Int64
    /// Of the engine's tables: rows inserted, changed, changed without touching an index, and deleted.
    public var inserts: Int64
    public var updates: Int64
    public var hotUpdates: Int64
    public var deletes: Int64

    public var writes: Int64 { inserts + updates + deletes }
    /// Each change and each deletion leaves a dead row behind.
    public var deadRows: Int64 { updates + deletes }

    public static func - (later: Self, earlier: Self) -> Self {
        Self(
            commits: later.commits - earlier.commits,
            bufferHits: later.bufferHits - earlier.bufferHits,
            inserts: later.inserts - earlier.inserts,
            updates: later.updates - earlier.updates,
            hotUpdates: later.hotUpdates - earlier.hotUpdates,
            deletes: later.deletes - earlier.deletes
        )
    }
}

/// A place in the write-ahead log.
public struct LogPosition: Sendable, Hashable {
    public var name: String
    /// Bytes since the server's first day.
    public var bytes: Double
}

/// How much the engine's tables hold.
public struct TableSizes: Sendable, Hashable {
    /// With their indexes.
    public var bytes: Int64
    /// As the server estimates them.
    public var deadRows: Int64
}

/// A process of the server.
public struct ServerProcess: Sendable, Hashable {
    public var pid: Int
    /// `client backend`, `millrace keeper`, …
    public var type: String
}

extension Client {
    public func counters() async throws(MillraceError) -> ServerCounters {
        let sql = """
            select d.xact_commit, d.blks_hit, t.* from pg_catalog.pg_stat_database d,
                 (select coalesce(sum(n_tup_ins), 0)::bigint, coalesce(sum(n_tup_upd), 0)::bigint,
                         coalesce(sum(n_tup_hot_upd), 0)::bigint, coalesce(sum(n_tup_del), 0)::bigint
                  from pg_catalog.pg_stat_all_tables where schemaname = 'millrace_internal') t
            where d.datname = pg_catalog.current_database()
            """
        return try await row(sql) { row throws(PostgresError) in
            ServerCounters(
                commits: try row.int64(0),
                bufferHits: try row.int64(1),
                inserts: try row.int64(2),
                updates: try row.int64(3),
                hotUpdates: try row.int64(4),
                deletes: try row.int64(5)
            )
        }
    }

    public func logPosition() async throws(MillraceError) -> LogPosition {
        let sql = "select w::text, pg_catalog.pg_wal_lsn_diff(w, '0/0')::float8 from pg_catalog.pg_current_wal_flush_lsn() w"
        return try await row(sql) { row throws(PostgresError) in
            LogPosition(name: try row.string(0), bytes: try row.double(1))
        }
    }

    /// How many bytes of a part of the log are images of whole pages, which the first change of a page after a
    /// checkpoint writes; nil where the extension pg_walinspect is not there, or that part is gone.
    public func fullPageBytes(from: LogPosition, to: LogPosition) async throws(MillraceError) -> Double? {
        let known = "select pg_catalog.to_regprocedure('pg_get_wal_stats(pg_lsn, pg_lsn, boolean)') is not null"
        guard try await row(known, [], { row throws(PostgresError) in try row.bool(0) }) else { return nil }
        let sql = "select sum(fpi_size)::float8 from pg_get_wal_stats($1::pg_lsn, $2::pg_lsn, true)"
        return try? await row(sql, [.text(from.name), .text(to.name)]) { row throws(PostgresError) in
            try row.decode(0, as: Double?.self)
        }
    }

    public func tableSizes() async throws(MillraceError) -> TableSizes {
        let sql = """
            select coalesce(sum(pg_catalog.pg_total_relation_size(relid)), 0)::bigint, coalesce(sum(n_dead_tup), 0)::bigint
            from pg_catalog.pg_stat_all_tables where schemaname = 'millrace_internal'
            """
        return try await row(sql) { row throws(PostgresError) in
            TableSizes(bytes: try row.int64(0), deadRows: try row.int64(1))
        }
    }

    /// The server's processes that serve this database or all, as far as this role sees them; the one that answers comes
    /// first.
    public func serverProcesses() async throws(MillraceError) -> [ServerProcess] {
        let sql = """
            select pid, coalesce(backend_type, '') from pg_catalog.pg_stat_activity
            where coalesce(datname, pg_catalog.current_database()) = pg_catalog.current_database()
            order by pid <> pg_catalog.pg_backend_pid(), pid
            """
        return try await rows(sql) { row throws(PostgresError) in
            ServerProcess(pid: try row.int(0), type: try row.string(1))
        }
    }

    /// Settings that a measurement depends on, by name.
    public func serverSettings() async throws(MillraceError) -> [String: JSONValue] {
        let sql = """
            select name, pg_catalog.current_setting(name) from pg_catalog.pg_settings
            where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size',
                           'checkpoint_timeout', 'shared_preload_libraries', 'max_connections')
            """
        let settings = try await rows(sql) { row throws(PostgresError) in
            (try row.string(0), JSONValue.string(try row.string(1)))
        }
        return Dictionary(uniqueKeysWithValues: settings)
    }

    /// Holds a snapshot in a session of its own while `body` goes on, as a long report or a dump would.
    public func holdingSnapshot<Result>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async throws -> Result {
        try await pool.transaction { connection in
            _ = try await connection.query("set transaction isolation level repeatable read")
            _ = try await connection.query("select 1")
            return try await body()
        }
    }
}
