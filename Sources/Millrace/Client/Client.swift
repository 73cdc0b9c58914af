import Postgres

/// Millrace's SQL functions and views as Swift calls.
///
/// A client is a view of a connection pool: make as many as you like. Each call is one transaction.
public struct Client: Sendable {
    let pool: Pool

    public init(pool: Pool) {
        self.pool = pool
    }

    /// Opens a pool for the time of `body`. A database that cannot be reached fails at once.
    public static func with<Result>(
        _ database: PostgresConfiguration,
        connections: Int = 4,
        _ body: (Client) async throws -> Result
    ) async throws -> Result {
        var configuration = Pool.Configuration()
        configuration.min = 1
        configuration.max = connections
        configuration.failsFast = true
        do {
            return try await Pool.with(database, configuration: configuration) { pool in
                try await body(Client(pool: pool))
            }
        } catch let error as PostgresError {
            throw MillraceError(error)
        }
    }

    func query(_ sql: String, _ parameters: [Parameter] = []) async throws(MillraceError) -> QueryResult {
        do {
            return try await pool.query(sql, parameters)
        } catch {
            throw MillraceError(error)
        }
    }

    func rows<Element>(
        _ sql: String,
        _ parameters: [Parameter] = [],
        _ decode: (Row) throws(PostgresError) -> Element
    ) async throws(MillraceError) -> [Element] {
        let result = try await query(sql, parameters)
        var elements: [Element] = []
        elements.reserveCapacity(result.count)
        do {
            for row in result { elements.append(try decode(row)) }
        } catch {
            throw MillraceError(error)
        }
        return elements
    }

    func row<Element>(
        _ sql: String,
        _ parameters: [Parameter] = [],
        _ decode: (Row) throws(PostgresError) -> Element
    ) async throws(MillraceError) -> Element {
        guard let element = try await rows(sql, parameters, decode).first else {
            throw MillraceError(.unexpectedAnswer, "The server answered without a row.")
        }
        return element
    }

    /// The rows of a call, each as a JSON object with its columns.
    func objects(_ source: String, _ parameters: [Parameter] = []) async throws(MillraceError) -> [JSONValue] {
        let sql = "select coalesce(jsonb_agg(to_jsonb(answer)), '[]') from \(source) as answer"
        let text = try await row(sql, parameters) { row throws(PostgresError) in try row.string(0) }
        guard case .array(let objects) = try JSONValue(json: text) else { return [] }
        return objects
    }
}

extension MillraceError {
    /// The server's error, or that of the way to it.
    public init(_ error: PostgresError) {
        self.init(
            Self.code(error),
            error.message,
            detail: error.detail,
            hint: error.hint ?? Self.hint(error),
            sqlState: error.sqlState,
            isRetriable: error.isRetriable,
            isConnectionLoss: error.isConnectionLoss
        )
    }

    private static func code(_ error: PostgresError) -> Code {
        guard let sqlState = error.sqlState else {
            switch error.code {
            case .connectionFailed, .connectionLost, .timeout, .invalidConfiguration: return .unreachable
            case .unexpectedValue: return .unexpectedAnswer
            default: return Code(rawValue: error.code.rawValue)
            }
        }
        switch sqlState {
        // No such schema, function or table: only ours are ever called.
        case "3F000", "42883", "42P01": return .notInstalled
        // Not let in, no such database, too many connections, shutting down.
        case "28000", "28P01", "3D000", "53300", "57P01", "57P02", "57P03": return .unreachable
        case _ where sqlState.hasPrefix("08"): return .unreachable
        default: return Code(rawValue: sqlState)
        }
    }

    private static func hint(_ error: PostgresError) -> String? {
        switch error.sqlState {
        case "3F000", "42883", "42P01":
            "This database has no millrace extension that fits: CREATE EXTENSION millrace, or ALTER EXTENSION millrace UPDATE."
        case "42501": "The role lacks millrace_viewer, millrace_client, millrace_agent or millrace_admin."
        default: nil
        }
    }
}
