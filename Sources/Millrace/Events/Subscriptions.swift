import Foundation
import Postgres

/// A named position in the log of events.
public struct Subscription: Sendable, Hashable, Encodable {
    public var name: String
    public var position: String
    /// How many events lie between the position and the end of the log, about.
    public var lagEvents: Int64?
    /// How old the first event behind the position is, in seconds.
    public var lagSeconds: Double?
    public var storedAt: Date?
    /// Whether retention has dropped events that it had not read.
    public var overtaken: Bool
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
}
