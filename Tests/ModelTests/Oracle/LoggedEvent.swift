import Postgres

/// One line of the log, and the transaction that wrote it.
struct LoggedEvent: Sendable {
    var eventID: Int64
    var runID: Int64
    var stepNo: Int32?
    var kind: String
    var attempt: Int32?
    var agentID: Int32?
    var at: Timestamp
    var transaction: Int64
    var outcome: String?
    var reason: String?
    var error: String?
    var dueAt: Timestamp?

    static func all(on connection: Connection) async throws -> [LoggedEvent] {
        let rows = try await connection.query(
            """
            SELECT e.event_id, e.run_id, e.step_no, e.kind, e.attempt, e.agent_id, e.at, i.xact_id,
                   e.data->>'outcome', e.data->>'reason', e.data->>'error', (e.data->>'due_at')::timestamptz
            FROM millrace.events e JOIN millrace_internal.event i USING (event_id) ORDER BY e.run_id, e.event_id
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
                transaction: try row.decode(7),
                outcome: try row.decode(8),
                reason: try row.decode(9),
                error: try row.decode(10),
                dueAt: try row.decode(11)
            )
        }
    }
}

extension LoggedEvent: CustomStringConvertible {
    var description: String {
        let details = [
            stepNo.map { "step \($0)" }, kind, attempt.map { "attempt \($0)" }, agentID.map { "agent \($0)" }, outcome,
            reason, error.map { "“\($0)”" },
        ]
        return "\(eventID) (transaction \(transaction), \(at.microsecondsSince1970)): "
            + details.compactMap(\.self).joined(separator: ", ")
    }
}
