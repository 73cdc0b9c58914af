import Foundation
import Postgres

/// Somebody who reads the log of events, and how far he has come.
public struct Subscription: Sendable, Hashable, Encodable {
    public var name: String
    public var startedFrom: String
    public var createdAt: Date
    /// When the position was stored last.
    public var storedAt: Date
    /// How many events are behind the stored position, about.
    public var lagEvents: Int64
    /// How old the last event is that is stored as delivered, where there are newer ones.
    public var lagSeconds: Double
    /// When retention has dropped events that had not been read, until it is noted; nil where it has not.
    public var overtakenAt: Date?
}

/// Where a new subscription begins.
public enum EventStart: Sendable, Hashable, CustomStringConvertible {
    case beginning
    /// After all that is committed now.
    case now
    /// The first event at or after a time, in any form that PostgreSQL reads.
    case time(String)

    public init(_ text: String) {
        switch text {
        case "beginning": self = .beginning
        case "now": self = .now
        default: self = .time(text)
        }
    }

    public var description: String {
        switch self {
        case .beginning: "beginning"
        case .now: "now"
        case .time(let time): time
        }
    }
}

/// Subscriptions, call by call. ``EventReader`` makes them a stream.
extension Client {
    /// Makes a subscription. The same name again changes nothing.
    ///
    /// - Returns: Whether it is new.
    @discardableResult
    public func subscribe(_ name: String, from start: EventStart = .now) async throws(MillraceError) -> Bool {
        let sql = "select millrace.subscribe(name => $1, start => $2)"
        return try await row(sql, [.text(name), .text(start.description)]) { row throws(PostgresError) in
            try row.bool(0)
        }
    }

    public func unsubscribe(_ name: String) async throws(MillraceError) {
        _ = try await query("select millrace.unsubscribe(name => $1)", [.text(name)])
    }

    /// The next events of a subscription. Reading changes nothing.
    ///
    /// - Parameter position: The position of the last event that was read; nil for the stored one.
    public func readEvents(
        _ name: String,
        max: Int = 1000,
        after position: String? = nil
    ) async throws(MillraceError) -> [Event] {
        let sql = """
            select \(Event.Column.names)
            from millrace.read_events(name => $1, max_events => $2, after => $3)
            """
        return try await rows(sql, [.text(name), .int32(Int32(max)), .text(position)]) { row throws(PostgresError) in
            try Event(row)
        }
    }

    /// Notes that all up to a position has been dealt with. Store at most once a second or so.
    public func commitPosition(_ name: String, _ position: String) async throws(MillraceError) {
        _ = try await query(
            "select millrace.commit_position(name => $1, \"position\" => $2)",
            [.text(name), .text(position)]
        )
    }

    /// All subscriptions.
    public func subscriptions() async throws(MillraceError) -> [Subscription] {
        let sql = """
            select name, started_from, created_at, stored_at, lag_events, extract(epoch from lag)::float8, overtaken_at
            from millrace.subscriptions order by name
            """
        return try await rows(sql) { row throws(PostgresError) in
            Subscription(
                name: try row.string(0),
                startedFrom: try row.string(1),
                createdAt: try row.date(2) ?? .distantPast,
                storedAt: try row.date(3) ?? .distantPast,
                lagEvents: try row.int64(4),
                lagSeconds: try row.double(5),
                overtakenAt: try row.date(6)
            )
        }
    }
}
