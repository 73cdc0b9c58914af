extension Pool {
    /// Lends a connection for the length of `body`.
    public func withConnection<R>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (Connection) async throws -> R
    ) async throws -> R {
        let connection = try await acquire()
        defer { release(connection) }
        return try await body(connection)
    }

    /// Runs one statement on any connection.
    public func query(_ sql: String, _ parameters: [Parameter] = []) async throws(PostgresError) -> QueryResult {
        try await query(Statement(sql, parameters))
    }

    /// Runs one statement on any connection.
    public func query(_ statement: Statement) async throws(PostgresError) -> QueryResult {
        let connection = try await acquire()
        defer { release(connection) }
        return try await connection.query(statement)
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    public func transaction<R>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (Connection) async throws -> R
    ) async throws -> R {
        try await withConnection { try await $0.transaction(body) }
    }
}
