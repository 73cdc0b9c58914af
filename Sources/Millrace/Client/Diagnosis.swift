import Postgres

/// Facts about a database that decide whether Millrace can work there, and how well.
public struct ServerFacts: Sendable, Hashable, Encodable {
    public var role: String
    public var isSuperuser: Bool
    /// Which of Millrace's roles the session's role is a member of.
    public var roles: [String]
    public var fsync: Bool
    public var synchronousCommit: String
    public var fullPageWrites: Bool
    /// `dispatcher` or `plain`; nil where the role may not see it.
    public var tier: String?
    public var dispatcherState: String?
    public var wakerProcessId: Int?
    public var keeperProcessId: Int?
    /// Databases of the server that have workers of the dispatcher, or should have; nil where the role may not see it.
    public var servedDatabases: Int?
    /// The setting `max_worker_processes`.
    public var workerSlots: Int
    /// Whether workers and agents may work here; nil where nothing has been used yet, or the role may not see it.
    public var isHome: Bool?
    /// How far the engine's clock is from the server's, in seconds; nil where the role may not see it.
    public var clockOffset: Double?
    /// The server's time, in seconds since 1970.
    public var serverTime: Double
    public var isInRecovery: Bool
}

extension Client {
    public func facts() async throws(MillraceError) -> ServerFacts {
        let sql = """
            select current_user::text, (select rolsuper from pg_catalog.pg_roles where rolname = current_user),
                   array(select r.rolname::text from pg_catalog.pg_roles r
                         where r.rolname in ('millrace_viewer', 'millrace_client', 'millrace_agent', 'millrace_admin')
                           and pg_catalog.pg_has_role(r.oid, 'usage') order by 1),
                   current_setting('fsync')::bool, current_setting('synchronous_commit'),
                   current_setting('full_page_writes')::bool, extract(epoch from clock_timestamp())::float8,
                   pg_catalog.pg_is_in_recovery(), current_setting('max_worker_processes')::bigint
            """
        var facts = try await row(sql) { row throws(PostgresError) in
            ServerFacts(
                role: try row.string(0),
                isSuperuser: try row.bool(1),
                roles: try row.decode(2),
                fsync: try row.bool(3),
                synchronousCommit: try row.string(4),
                fullPageWrites: try row.bool(5),
                workerSlots: Int(try row.int64(8)),
                serverTime: try row.double(6),
                isInRecovery: try row.bool(7)
            )
        }
        // What a role may not see is no reason to say nothing about the rest.
        if let dispatcher = try? await dispatcher().first, case .object(let members) = dispatcher {
            facts.tier = members["tier"]?.text
            facts.dispatcherState = members["state"]?.text
            facts.wakerProcessId = members["waker_pid"]?.int
            facts.keeperProcessId = members["keeper_pid"]?.int
            facts.servedDatabases = members["databases"]?.int
        }
        let isHome = "select millrace_internal.is_home() where exists (select from millrace_internal.installation)"
        facts.isHome = try? await row(isHome) { row throws(PostgresError) in try row.bool(0) }
        let offset = "select extract(epoch from millrace_internal.clock() - clock_timestamp())::float8"
        facts.clockOffset = try? await row(offset) { row throws(PostgresError) in try row.double(0) }
        return facts
    }
}

extension JSONValue {
    var int: Int? { if case .integer(let number) = self { Int(number) } else { nil } }
}
