import Foundation
import Postgres

/// A private, throw-away PostgreSQL cluster: a real server of the installed binaries with its own directory, a Unix
/// socket in it (trusted) and a free port on loopback (SCRAM, password ``password``).
///
/// It runs as user `postgres` when the tests run as root, for the server refuses to run as root. A guard process
/// stops the server and removes the directory when this object, or this whole process, is gone, however it went.
public final class PostgresCluster: Sendable {
    public enum Tier: String, Sendable, CaseIterable {
        /// Nothing is preloaded.
        case plain
        /// `shared_preload_libraries = 'millrace'`
        case dispatcher

    }

    public enum StopMode: String, Sendable {
        case smart, fast, immediate
    }

    /// The password of user `postgres` over TCP.
    public static let password = "millrace"

    public let tier: Tier
    public let port: Int
    /// Holds the data directory, the socket and the server's log.
    public let directory: String
    private let guardian: Guardian

    public var socketDirectory: String { directory }
    public var dataDirectory: String { directory + "/data" }
    public var logFile: String { directory + "/server.log" }

    private init(tier: Tier, port: Int, directory: String) throws {
        self.tier = tier
        self.port = port
        self.directory = directory
        guardian = try Guardian(directory: directory)
    }

    // MARK: Life

    /// Makes a cluster and starts its server.
    public static func start(
        _ tier: Tier = .plain,
        settings: [String: String] = [:]
    ) async throws -> PostgresCluster {
        let directory = try await Server.makeDirectory()
        let cluster = try PostgresCluster(tier: tier, port: Server.freePort(), directory: directory)
        try await Server.copyTemplate(to: cluster.dataDirectory)
        try cluster.configure(settings)
        try await cluster.start()
        return cluster
    }

    /// Makes a cluster for the length of `body`.
    public static func with<R>(
        _ tier: Tier = .plain,
        settings: [String: String] = [:],
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresCluster) async throws -> R
    ) async throws -> R {
        let cluster = try await start(tier, settings: settings)
        let result: Result<R, any Error>
        do { result = .success(try await body(cluster)) } catch { result = .failure(error) }
        try? await cluster.stop(.immediate)
        return try result.get()
    }

    public func start() async throws {
        do {
            try await Server.run("pg_ctl", ["start", "-w", "-t", "60", "-s", "-D", dataDirectory, "-l", logFile])
        } catch {
            let log = (try? await Shell.run(["tail", "-n", "20", logFile])) ?? ""
            throw TestSupportError("The server in \(dataDirectory) did not start: \(error)\n\(log)")
        }
    }

    public func stop(_ mode: StopMode = .fast) async throws {
        try await Server.run("pg_ctl", ["stop", "-w", "-t", "60", "-s", "-D", dataDirectory, "-m", mode.rawValue])
    }

    public func restart(_ mode: StopMode = .fast) async throws {
        try await stop(mode)
        try await start()
    }

    /// Kills the server's first process. The others notice; until the last of them has ended no server can start here.
    public func crash() async throws {
        let file = try String(contentsOfFile: dataDirectory + "/postmaster.pid", encoding: .utf8)
        guard let first = file.split(separator: "\n").first.flatMap({ Int32($0) }) else {
            throw TestSupportError("No server runs in \(dataDirectory).")
        }
        // It starts no more processes while they are counted.
        kill(first, SIGSTOP)
        let others = try String(contentsOfFile: "/proc/\(first)/task/\(first)/children", encoding: .utf8)
        try killBackend(first)
        let processes = ["\(first)"] + others.split(separator: " ").map(String.init)
        try await eventually("the processes of a killed server end") {
            !processes.contains { FileManager.default.fileExists(atPath: "/proc/\($0)") }
        }
    }

    /// Kills a server process as the kernel would when memory is short.
    public func killBackend(_ pid: Int32) throws {
        guard kill(pid, SIGKILL) == 0 else {
            throw TestSupportError("Process \(pid) could not be killed: \(String(cString: strerror(errno)))")
        }
    }

    private func configure(_ settings: [String: String]) throws {
        var all = [
            "listen_addresses": "127.0.0.1", "port": String(port), "unix_socket_directories": directory,
            "fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "100",
        ]
        if tier == .dispatcher { all["shared_preload_libraries"] = "millrace" }
        all.merge(settings) { $1 }
        let text = all.sorted { $0.key < $1.key }
            .map { "\($0.key) = '\($0.value.replacingOccurrences(of: "'", with: "''"))'\n" }
            .joined()
        // The last setting of a name counts.
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: dataDirectory + "/postgresql.conf"))
        try file.seekToEnd()
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    // MARK: Use

    /// How to connect: over the socket, or over loopback with a password.
    public func configuration(
        database: String = "postgres",
        user: String = "postgres",
        password: String? = nil,
        overTCP: Bool = false
    ) -> PostgresConfiguration {
        PostgresConfiguration(
            host: overTCP ? "127.0.0.1" : socketDirectory,
            port: port,
            user: user,
            password: password ?? (overTCP ? Self.password : nil),
            database: database
        )
    }

    /// The same as text, over the socket.
    public func url(database: String = "postgres") -> String {
        "postgresql://postgres@/\(database)?host=\(socketDirectory)&port=\(port)"
    }

    /// Makes a database, with a name of its own unless one is given.
    public func createDatabase(_ name: String? = nil, extension: Bool = false) async throws -> PostgresConfiguration {
        let name = name ?? "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        try await psql("CREATE DATABASE \(Connection.quoteIdentifier(name))")
        if `extension` { try await psql("CREATE EXTENSION millrace CASCADE", database: name) }
        return configuration(database: name)
    }

    /// Runs a script in psql; answers its output, unaligned and without headers.
    @discardableResult
    public func psql(_ sql: String, database: String = "postgres") async throws -> String {
        let arguments = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, url(database: database)]
        return try await Shell.run([Server.binaries + "/psql"] + arguments)
    }
}
