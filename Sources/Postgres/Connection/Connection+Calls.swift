extension Connection {
    /// Runs one statement.
    public func query(_ sql: String, _ parameters: [Parameter] = []) async throws(PostgresError) -> QueryResult {
        try await query(Statement(sql, parameters))
    }

    /// Runs one statement.
    public func query(_ statement: Statement) async throws(PostgresError) -> QueryResult {
        try await call([statement])[0]
    }

    /// Runs statements in one transaction and one round trip.
    public func call(_ statements: [Statement]) async throws(PostgresError) -> [QueryResult] {
        if statements.isEmpty { return [] }
        return try await perform([.statements(statements)])[0].get()
    }

    /// Runs calls in one round trip, each in a transaction of its own: an error in one leaves the others alone.
    public func pipeline(_ calls: [[Statement]]) async -> [Swift.Result<[QueryResult], PostgresError>] {
        await perform(calls.map { .statements($0) })
    }

    /// Runs a text of many statements without parameters, in one transaction unless it says otherwise. The answers
    /// come in text format. Waits until nothing else is under way on this connection.
    @discardableResult
    public func execute(script: String) async throws(PostgresError) -> [QueryResult] {
        try await perform([.script(script)])[0].get()
    }

    /// Asks the server for nothing, to know that it is there.
    public func ping() async throws(PostgresError) {
        _ = try await query(Statement("", prepared: false))
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws. The connection is the
    /// body's alone meanwhile: calls of other tasks on it would become part of the transaction.
    public func transaction<R>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (Connection) async throws -> R
    ) async throws -> R {
        _ = try await query(Statement("BEGIN", prepared: false))
        let value: R
        do {
            value = try await body(self)
        } catch {
            await rollBack()
            throw error
        }
        let end = try await query(Statement("COMMIT", prepared: false))
        // The server answers the COMMIT of a failed transaction with ROLLBACK, and no error.
        guard end.commandTag == "COMMIT" else {
            throw PostgresError(
                .server,
                "The transaction was rolled back because a statement in it had failed.",
                sqlState: "25P02",
                hint: "Do not catch the error of a statement inside a transaction without rolling back to a savepoint."
            )
        }
        return value
    }

    /// Ends a failed transaction even when the task has been cancelled; a connection on which that fails is useless.
    private func rollBack() async {
        guard isOpen else { return }
        let answer = await perform([.statements([Statement("ROLLBACK", prepared: false)])], cancellable: false)[0]
        if case .failure(let error) = answer { close(error) }
    }

    /// A name as it stands in a statement.
    public static func quoteIdentifier(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }
}
