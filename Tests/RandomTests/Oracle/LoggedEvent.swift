import Millrace
import Postgres

/// One line of the log, as everybody sees it.
struct LoggedEvent: Sendable {
    var eventID: Int64
    var runID: Int64
    var stepNo: Int32?
    var kind: String
    var attempt: Int32?
    var agentID: Int32?
    var at: Timestamp
    var data: JSONValue?

    func text(_ name: String) -> String? {
        guard case .string(let text)? = data?[name] else { return nil }
        return text
    }

    var dueAt: Timestamp?

    static func all(on connection: Connection) async throws -> [LoggedEvent] {
        let rows = try await connection.query(
            """
            SELECT event_id, run_id, step_no, kind, attempt, agent_id, at, data::text, (data->>'due_at')::timestamptz
            FROM millrace.events ORDER BY event_id
            """
        )
        return try rows.map { row in
            LoggedEvent(
                eventID: try row.decode(0),
                runID: try row.decode(1),
                stepNo: try row.decode(2),
                kind: try row.decode(3),
                attempt: try row.decode(4),
                agentID: try row.decode(5),
                at: try row.decode(6),
                data: try row.optionalString(7).map { try JSONValue(json: $0) },
                dueAt: try row.decode(8)
            )
        }
    }
}

extension LoggedEvent: CustomStringConvertible {
    var description: String {
        let parts = [
            stepNo.map { "step \($0)" }, kind, attempt.map { "attempt \($0)" }, agentID.map { "agent \($0)" }, data?.json,
        ]
        return "\(eventID) at \(at.microsecondsSince1970): " + parts.compactMap(\.self).joined(separator: ", ")
    }
}

/// What the log says and the rules do not allow.
struct Contradiction: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func require(_ condition: Bool, _ otherwise: @autoclosure () -> String) throws {
    if !condition { throw Contradiction(otherwise()) }
}
