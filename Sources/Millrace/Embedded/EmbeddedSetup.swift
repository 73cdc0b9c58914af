import Postgres

/// What is done inside a new server: the database and the extension.
struct EmbeddedSetup: Sendable {
    let address: EmbeddedDatabase.Address

    /// Safe to repeat, and after a first try that got half way.
    func run() async throws(MillraceError) {
        do {
            try await createDatabase()
            let connection = try await Connection.connect(PostgresConfiguration(address.url))
            defer { connection.close() }
            _ = try await connection.query("create extension if not exists millrace")
            _ = try await connection.query("alter extension millrace update")
        } catch {
            var failed = MillraceError(error)
            failed.code = .embedded
            throw failed
        }
    }

    private func createDatabase() async throws(PostgresError) {
        var maintenance = try PostgresConfiguration(address.url)
        maintenance.parameters["dbname"] = "postgres"
        let connection = try await Connection.connect(maintenance)
        defer { connection.close() }
        let sql = "select exists (select from pg_catalog.pg_database where datname = $1)"
        let exists = try await connection.query(sql, [.text(EmbeddedRecord.database)])
        guard try !exists[0].bool(0) else { return }
        _ = try await connection.query("create database \(Connection.quoteIdentifier(EmbeddedRecord.database))")
    }
}
