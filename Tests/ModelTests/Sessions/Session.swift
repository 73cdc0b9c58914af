import MillraceTestSupport
import Postgres

/// One database session that carries calls to one of the ends that transactions have.
struct Session {
    /// How the transaction around a call ends.
    enum Fate: Sendable {
        case autocommit, committed, rolledBack
        /// The call is undone by a savepoint; the transaction commits without it.
        case undone
        /// The call is undone by a savepoint, made once more, and committed.
        case repeated
        case prepared, preparedAndRolledBack

        static func random(using random: inout SeededRandom) -> Fate {
            random.pick(weighted: [
                .autocommit: 12, .committed: 2, .rolledBack: 2, .undone: 1, .repeated: 1, .prepared: 1,
                .preparedAndRolledBack: 1,
            ])
        }
    }

    let name: String
    let connection: Connection
    let ledger: Ledger
    var random: SeededRandom
    private var transactions = 0

    init(name: String, configuration: PostgresConfiguration, ledger: Ledger, random: SeededRandom) async throws {
        self.name = name
        self.ledger = ledger
        self.random = random
        connection = try await Connection.connect(configuration)
    }

    /// Makes a call, and answers what it answered if its effects are committed.
    ///
    /// - Parameters:
    ///   - fate: what becomes of the transaction.
    ///   - refusals: the SQLSTATEs with which the engine may refuse it. Any other error is a complaint.
    mutating func perform<Answer>(
        _ call: String,
        _ fate: Fate = .autocommit,
        refusals: Set<String> = [],
        _ body: (Connection) async throws -> Answer
    ) async throws -> Answer? {
        do {
            let answer = try await carry(fate, body)
            ledger.count("\(call), \(fate)")
            return answer
        } catch let error as PostgresError {
            if let state = error.sqlState, refusals.contains(state) {
                ledger.count("\(call), refused with \(state)")
            } else {
                ledger.complain("\(name), \(call), \(fate): \(error)")
            }
            if fate != .autocommit { _ = try await connection.query("ROLLBACK") }
            return nil
        }
    }

    private mutating func carry<Answer>(
        _ fate: Fate,
        _ body: (Connection) async throws -> Answer
    ) async throws -> Answer? {
        if fate == .autocommit { return try await body(connection) }
        try await run("BEGIN")
        switch fate {
        case .autocommit, .committed:
            let answer = try await body(connection)
            try await run("COMMIT")
            return answer
        case .rolledBack:
            _ = try await body(connection)
            try await run("ROLLBACK")
            return nil
        case .undone:
            try await run("SAVEPOINT before")
            _ = try await body(connection)
            try await run("ROLLBACK TO before")
            try await run("COMMIT")
            return nil
        case .repeated:
            try await run("SAVEPOINT before")
            _ = try await body(connection)
            try await run("ROLLBACK TO before")
            let answer = try await body(connection)
            try await run("COMMIT")
            return answer
        case .prepared, .preparedAndRolledBack:
            // A transaction that has notified cannot be prepared.
            try await run("SET LOCAL millrace.notify = off")
            let answer = try await body(connection)
            transactions += 1
            let identifier = "\(name) \(transactions)"
            try await run("PREPARE TRANSACTION '\(identifier)'")
            try await pause(upTo: 20)
            try await run("\(fate == .prepared ? "COMMIT" : "ROLLBACK") PREPARED '\(identifier)'")
            return fate == .prepared ? answer : nil
        }
    }

    private func run(_ statement: String) async throws {
        _ = try await connection.query(Statement(statement, prepared: false))
    }

    /// Lets others go first for a while.
    mutating func pause(upTo milliseconds: Int) async throws {
        try await Task.sleep(for: .microseconds(random.int(0...milliseconds * 1000)))
    }
}
