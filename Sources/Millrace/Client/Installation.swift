import Postgres

/// What a database has of Millrace.
public struct Installation: Sendable, Hashable, Encodable {
    /// The server's version, as `server_version_num` writes it: 150004.
    public var serverVersion: Int
    /// The version of the extension in this database; nil where there is none.
    public var version: String?
    /// The version that the server's directories hold; nil where there is none.
    public var availableVersion: String?

    /// The oldest server and the oldest extension that this library works with.
    public static let oldestServer = 150_000
    public static let oldestVersion = "0.2.0"

    /// - Throws: ``MillraceError`` that says what is missing and how to mend it.
    public func check() throws(MillraceError) {
        guard serverVersion >= Self.oldestServer else {
            throw MillraceError(
                .notInstalled,
                "The server is PostgreSQL \(serverVersion / 10_000).",
                hint: "Millrace needs version \(Self.oldestServer / 10_000) or newer."
            )
        }
        guard let version else {
            let hint =
                availableVersion == nil
                ? "Install it on the server (make install-extension), then: CREATE EXTENSION millrace."
                : "Connect to this database as a superuser and say: CREATE EXTENSION millrace."
            throw MillraceError(.notInstalled, "This database has no millrace extension.", hint: hint)
        }
        guard !Self.isOlder(version, than: Self.oldestVersion) else {
            throw MillraceError(
                .notInstalled,
                "The millrace extension in this database is version \(version), which is too old.",
                hint: "Say ALTER EXTENSION millrace UPDATE; version \(Self.oldestVersion) or newer is needed."
            )
        }
    }

    static func isOlder(_ version: String, than other: String) -> Bool {
        let parts = [version, other].map { $0.split(separator: ".").map { Int($0.prefix { $0.isNumber }) ?? 0 } }
        return parts[0].lexicographicallyPrecedes(parts[1])
    }
}

extension Client {
    public func installation() async throws(MillraceError) -> Installation {
        let sql = """
            select current_setting('server_version_num')::int,
                   (select extversion from pg_catalog.pg_extension where extname = 'millrace'),
                   (select default_version from pg_catalog.pg_available_extensions where name = 'millrace')
            """
        return try await row(sql) { row throws(PostgresError) in
            Installation(
                serverVersion: try row.int(0),
                version: try row.decode(1, as: String?.self),
                availableVersion: try row.decode(2, as: String?.self)
            )
        }
    }
}
