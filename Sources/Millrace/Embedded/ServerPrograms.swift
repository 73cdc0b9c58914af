import Foundation
import Subprocess
import SystemPackage

/// The PostgreSQL server installed on this machine that the embedded database runs.
struct ServerPrograms: Sendable {
    /// Where `initdb`, `pg_ctl` and `postgres` are.
    let binaries: String
    let majorVersion: Int
    /// Whether the extension and its library are installed for this server.
    let hasExtension: Bool

    /// The oldest server the extension runs on.
    static let oldestVersion = 15

    /// The server that `PG_CONFIG` names, else the newest one, one that has the extension before one that has not.
    static func find(environment: [String: String] = ProcessInfo.processInfo.environment) async throws(MillraceError)
        -> Self
    {
        if let configured = environment["PG_CONFIG"] {
            guard let programs = await Self(pgConfig: configured) else {
                throw MillraceError(
                    .embedded,
                    "PG_CONFIG names \"\(configured)\", which tells of no PostgreSQL server.",
                    hint: "Let it be the path of a server's pg_config, or unset it."
                )
            }
            return try programs.checked()
        }
        var found: [Self] = []
        for path in candidates(environment) {
            if let programs = await Self(pgConfig: path) { found.append(programs) }
        }
        let usable = found.filter { $0.majorVersion >= oldestVersion }
        let best = (usable.isEmpty ? found : usable).max {
            ($0.hasExtension ? 1 : 0, $0.majorVersion) < ($1.hasExtension ? 1 : 0, $1.majorVersion)
        }
        guard let best else {
            throw MillraceError(
                .embedded,
                "No PostgreSQL server is installed here.",
                hint: "Install one of version \(oldestVersion) or newer (on Debian: apt-get install postgresql), "
                    + "or set PG_CONFIG."
            )
        }
        return try best.checked()
    }

    func path(_ program: String) -> String { "\(binaries)/\(program)" }

    private func checked() throws(MillraceError) -> Self {
        guard majorVersion >= Self.oldestVersion else {
            throw MillraceError(
                .embedded,
                "PostgreSQL \(majorVersion) in \(binaries) is too old.",
                hint: "Millrace needs version \(Self.oldestVersion) or newer."
            )
        }
        return self
    }

    private static func candidates(_ environment: [String: String]) -> [String] {
        let debian = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: debian)) ?? []
        let onPath = (environment["PATH"] ?? "").split(separator: ":").map { "\($0)/pg_config" }
        return (versions.map { "\(debian)/\($0)/bin/pg_config" } + onPath)
            .filter { FileManager.default.isExecutableFile(atPath: $0) }
    }

    private init?(pgConfig: String) async {
        func ask(_ option: String) async -> String? {
            let answer = try? await run(
                .path(FilePath(pgConfig)),
                arguments: [option],
                output: .string(limit: 4096),
                error: .discarded
            )
            guard let answer, answer.terminationStatus.isSuccess else { return nil }
            return answer.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        guard let version = await ask("--version"), let binaries = await ask("--bindir"),
            let major = version.split(separator: " ").dropFirst().first.flatMap({ Int($0.prefix { $0.isNumber }) }),
            // pg_config comes with the client's headers too; only initdb tells that a server is there.
            FileManager.default.isExecutableFile(atPath: "\(binaries)/initdb")
        else { return nil }
        let share = await ask("--sharedir") ?? ""
        let libraries = await ask("--pkglibdir") ?? ""
        self.binaries = binaries
        majorVersion = major
        hasExtension =
            FileManager.default.fileExists(atPath: "\(share)/extension/millrace.control")
            && FileManager.default.fileExists(atPath: "\(libraries)/millrace.so")
    }
}
