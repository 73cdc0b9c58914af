import Foundation
import MillraceTestSupport

/// `millrace agent` in a process of its own.
final class AgentProcess: Sendable {
    let name: String
    private let process: Process
    private let logFile: URL

    /// The program stands beside the tests.
    private static let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "millrace")

    init(name: String, database: String, lease: Int) throws {
        self.name = name
        logFile = URL(filePath: "/tmp/millrace-agent-\(UUID().uuidString.prefix(8)).log")
        _ = FileManager.default.createFile(atPath: logFile.path, contents: nil)
        process = Process()
        process.executableURL = Self.program
        process.arguments = ["agent", "--database", database, "--name", name, "--concurrency", "22"]
        process.environment = ["MILLRACE_AGENT_LEASE": "\(lease)s", "PATH": "/usr/bin:/bin"]
        process.standardInput = FileHandle.nullDevice
        let log = try FileHandle(forWritingTo: logFile)
        process.standardOutput = log
        process.standardError = log
        try process.run()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(at: logFile)
    }

    var isRunning: Bool { process.isRunning }
    var log: String { (try? String(contentsOf: logFile, encoding: .utf8)) ?? "" }

    func kill() { send(SIGKILL) }
    func terminate() { send(SIGTERM) }

    private func send(_ signal: Int32) {
        if process.isRunning { Foundation.kill(process.processIdentifier, signal) }
    }
}
