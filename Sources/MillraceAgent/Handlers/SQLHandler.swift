import Millrace

/// `sql`: runs `with: {statement}` and completes the step in one transaction, so that it takes effect exactly once.
///
/// The database does all of it (`millrace.execute_sql`); an error of the statement is reported by its text and its
/// SQLSTATE (class `sql:SQLSTATE`).
struct SQLHandler: Handler {
    /// How often a statement is run again that lost against another one.
    static let repeats = 5

    func run(_ step: StepContext) async throws -> Output {
        guard let database = step.database else {
            throw HandlerError.fatal("sql: this agent has no database to run the statement in.")
        }
        for _ in 0..<Self.repeats {
            guard let error = await refusal(of: step, in: database) else { return .settled }
            if error.isLossOfTheDatabase { throw Self.loss(of: step) }
            guard error.isRetriable, !error.isConnectionLoss else { throw Self.failure(error) }
            try await Task.sleep(for: .milliseconds(Int.random(in: 1...20)))
        }
        throw HandlerError.retriable(
            "sql: the statement lost against others \(Self.repeats) times in a row.",
            errorClass: "sql:40001"
        )
    }

    /// Runs the statement. What happens to a step that was taken away does not matter.
    private func refusal(of step: StepContext, in database: StepContext.Database) async -> MillraceError? {
        do {
            try await database.client.executeSQL(agent: database.agentID, step.work.handOut)
            return nil
        } catch {
            return error.code == .staleHandOut ? nil : error
        }
    }

    /// Nobody knows whether the transaction was committed: if it was, giving the step back finds it done. A statement
    /// that takes its server down each time must not come back for ever; tokens tell how often it was given back.
    private static func loss(of step: StepContext) -> any Error {
        guard Int(step.token) - step.attempt >= repeats else { return GiveBack() }
        return HandlerError.retriable(
            "sql: the connection broke each time the statement ran.",
            errorClass: "sql:connection"
        )
    }

    private static func failure(_ error: MillraceError) -> HandlerError {
        var message = error.message
        if let sqlState = error.sqlState { message = "\(sqlState): \(message)" }
        if let detail = error.detail { message += " (\(detail))" }
        // Where something does not exist, the hint is about the extension; here the statement is meant.
        if let hint = error.hint, error.code != .notInstalled { message += " Hint: \(hint)" }
        return .retriable(message, errorClass: error.sqlState.map { "sql:\($0)" } ?? "sql:connection")
    }
}

extension MillraceError {
    /// The connection to this database broke, not one that the statement itself had made to another.
    fileprivate var isLossOfTheDatabase: Bool {
        isConnectionLoss && sqlState?.hasPrefix("08") != true
    }
}

/// Thrown by a handler that cannot say what became of its step: the step is given back, the attempt is not counted.
struct GiveBack: Error {}
