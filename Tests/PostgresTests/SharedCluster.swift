import MillraceTestSupport
import Postgres

/// One server for all suites that leave it alone.
enum Shared {
    private static let started = Task { try await PostgresCluster.start() }

    static func cluster() async throws -> PostgresCluster { try await started.value }

    /// Lends a connection.
    static func withConnection<R>(_ body: (Connection) async throws -> R) async throws -> R {
        let connection = try await Connection.connect(cluster().configuration())
        defer { connection.close() }
        return try await body(connection)
    }
}

/// The error that `body` throws, if it throws one of this library's.
func postgresError(_ body: () async throws -> Void) async -> PostgresError? {
    do { try await body() } catch { return error as? PostgresError }
    return nil
}
