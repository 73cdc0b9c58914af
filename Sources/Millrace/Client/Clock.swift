import Foundation
import Postgres

// For tests: time that stands still until it is told to go on.
extension Client {
    /// Stops the engine's clock in this database; nil lets it run again.
    public func setClock(_ time: Date?) async throws(MillraceError) {
        // As a number: texts of dates are cut at milliseconds.
        let sql = "select millrace.set_clock(at => to_timestamp($1))"
        _ = try await query(sql, [.double(time.map(\.timeIntervalSince1970))])
    }

    /// Does one chore of the keeper that is due, at most.
    ///
    /// - Returns: When the next one is; nil where none is foreseen.
    @discardableResult
    public func keep() async throws(MillraceError) -> Date? {
        try await row("select millrace.keep()") { row throws(PostgresError) in try row.date(0) }
    }
}
