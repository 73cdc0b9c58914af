import Foundation

/// The server binaries that are installed here.
package enum Server {
    /// The directory of `pg_ctl`: what `PG_CONFIG` says, or the newest that Debian installed, or what the path has.
    static let binaries: String = {
        if let config = ProcessInfo.processInfo.environment["PG_CONFIG"], let path = output(of: config, ["--bindir"]) {
            return path
        }
        let root = "/usr/lib/postgresql"
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).compactMap { Int($0) }
        let installed = versions.sorted().reversed().map { "\(root)/\($0)/bin" }
        return installed.first { FileManager.default.isExecutableFile(atPath: $0 + "/pg_ctl") }
            ?? output(of: "pg_config", ["--bindir"]) ?? "/usr/bin"
    }()

    private static func output(of program: String, _ arguments: [String]) -> String? {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return process.terminationStatus == 0 && !text.isEmpty ? text : nil
    }

    static let isRoot = geteuid() == 0

    /// The command as the user under whom the server may run.
    static func asServerUser(_ command: [String]) -> [String] {
        isRoot ? ["/usr/sbin/runuser", "-u", "postgres", "--"] + command : command
    }

    @discardableResult
    static func run(_ program: String, _ arguments: [String]) async throws -> String {
        try await Shell.run(asServerUser([binaries + "/" + program] + arguments))
    }

    /// A new directory of the server's user; its path is short, for it holds a socket.
    static func makeDirectory() async throws -> String {
        try await Shell.run(asServerUser(["mktemp", "-d", "/tmp/mr-XXXXXXXX"])).trimmingCharacters(in: .newlines)
    }

    /// `initdb` takes a second: each process does it once, and copies.
    static func copyTemplate(to directory: String) async throws {
        try await Shell.run(asServerUser(["cp", "-a", template.value.dataDirectory, directory]))
    }

    private static let template = Task { try await Template() }

    private struct Template {
        let dataDirectory: String
        private let guardian: Guardian

        init() async throws {
            let directory = try await Server.makeDirectory()
            guardian = try Guardian(directory: directory)
            dataDirectory = directory + "/data"
            let script = """
                printf '%s\\n' "$3" > "$2/password"
                "$1/initdb" -D "$2/data" -U postgres --pwfile="$2/password" --auth-local=trust \
                    --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync --wal-segsize=4
                """
            let arguments = [Server.binaries, directory, PostgresCluster.password]
            try await Shell.run(Server.asServerUser(["/bin/sh", "-c", script, "initdb"] + arguments))
        }
    }

    /// A port that nobody listens on now.
    package static func freePort() -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard bind(descriptor, address, length) == 0, getsockname(descriptor, address, &length) == 0 else {
                    fatalError("No port on loopback: \(String(cString: strerror(errno)))")
                }
            }
            return Int(UInt16(bigEndian: pointer.pointee.sin_port))
        }
    }
}
