import Foundation
import Postgres

/// A queue, one handler's part of it.
public struct QueueSummary: Sendable, Hashable, Encodable {
    public var queue: String
    public var handler: String
    /// Steps that wait to be handed out.
    public var depth: Int
    /// How long the oldest has waited, in seconds.
    public var oldestAge: Double?
    public var running: Int
    /// Agents alive that serve it.
    public var agents: Int
}

/// A registered agent.
public struct AgentSummary: Sendable, Hashable, Encodable {
    public var agentId: Int
    public var name: String?
    public var state: String
    public var queues: [String]
    public var handlers: [String]
    public var leaseExpiresAt: Date?
    public var seenAt: Date?
    /// Steps it holds.
    public var held: Int
}

/// One change of state.
public struct RunEvent: Sendable, Hashable, Encodable {
    public var eventId: Int64
    public var runId: Int64
    public var stepNo: Int?
    public var kind: String
    public var attempt: Int?
    public var agentId: Int?
    public var at: Date
    public var data: JSONValue?
}

extension Client {
    public func queues() async throws(MillraceError) -> [QueueSummary] {
        let sql = """
            select queue, handler, depth::bigint, extract(epoch from oldest_age)::float8, running::bigint, agents::bigint
            from millrace.queues order by queue, handler
            """
        return try await rows(sql) { row throws(PostgresError) in
            QueueSummary(
                queue: try row.string(0),
                handler: try row.string(1),
                depth: Int(try row.int64(2)),
                oldestAge: try row.decode(3, as: Double?.self),
                running: Int(try row.int64(4)),
                agents: Int(try row.int64(5))
            )
        }
    }

    public func agents() async throws(MillraceError) -> [AgentSummary] {
        let sql = """
            select agent_id, name, state::text, queues, handlers, lease_expires_at, seen_at, held::bigint
            from millrace.agents order by agent_id
            """
        return try await rows(sql) { row throws(PostgresError) in
            AgentSummary(
                agentId: try row.int(0),
                name: try row.decode(1, as: String?.self),
                state: try row.string(2),
                queues: try row.decode(3, as: [String]?.self) ?? [],
                handlers: try row.decode(4, as: [String]?.self) ?? [],
                leaseExpiresAt: try row.date(5),
                seenAt: try row.date(6),
                held: Int(try row.int64(7))
            )
        }
    }

    /// What the dispatcher's shared memory holds.
    public func dispatcher() async throws(MillraceError) -> [JSONValue] {
        try await objects("millrace.dispatcher")
    }

    public func metrics() async throws(MillraceError) -> [JSONValue] {
        try await objects("millrace.metrics()")
    }

    /// A page of the log, in order.
    ///
    /// - Parameters:
    ///   - after: The last event one has seen; 0 for the beginning.
    ///   - run: Only of that run.
    public func events(after: Int64 = 0, run: Int64? = nil, limit: Int = 1000) async throws(MillraceError) -> [RunEvent]
    {
        let sql = """
            select event_id, run_id, step_no, kind::text, attempt, agent_id, at, data from millrace.events
            where event_id > $1 and ($2::bigint is null or run_id = $2) order by event_id limit $3
            """
        let page = try await rows(sql, [.int64(after), .int64(run), .int32(Int32(limit))]) {
            row throws(PostgresError) in
            (
                RunEvent(
                    eventId: try row.int64(0),
                    runId: try row.int64(1),
                    stepNo: try row.decode(2, as: Int?.self),
                    kind: try row.string(3),
                    attempt: try row.decode(4, as: Int?.self),
                    agentId: try row.decode(5, as: Int?.self),
                    at: try row.date(6) ?? .distantPast
                ),
                try row.decode(7, as: String?.self)
            )
        }
        return try page.map { (event, data) throws(MillraceError) in
            var event = event
            event.data = try data.map { (text) throws(MillraceError) in try JSONValue(json: text) }
            return event
        }
    }
}
