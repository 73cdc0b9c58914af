import Foundation
import MillraceTestSupport

/// A program of this package in a process of its own, beside the tests.
final class Program: @unchecked Sendable {
    // Unchecked: the process is only asked for its number and its end, which Foundation allows from any thread.
    private let process = Process()
    private let file = FileManager.default.temporaryDirectory.appending(path: "millrace-\(UUID().uuidString)")

    init(_ name: String, _ arguments: [String], _ environment: [String: String] = [:]) throws {
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: name)
        process.arguments = arguments
        process.environment = ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }
        _ = FileManager.default.createFile(atPath: file.path + ".out", contents: nil)
        _ = FileManager.default.createFile(atPath: file.path + ".err", contents: nil)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: file.path + ".out")
        process.standardError = FileHandle(forWritingAtPath: file.path + ".err")
        try process.run()
    }

    deinit {
        send(SIGKILL)
        for suffix in [".out", ".err"] { try? FileManager.default.removeItem(atPath: file.path + suffix) }
    }

    var output: String { (try? String(contentsOfFile: file.path + ".out", encoding: .utf8)) ?? "" }
    var errors: String { (try? String(contentsOfFile: file.path + ".err", encoding: .utf8)) ?? "" }
    var isRunning: Bool { process.isRunning }

    func send(_ signal: Int32) {
        if process.isRunning { kill(process.processIdentifier, signal) }
    }

    func die() async throws {
        send(SIGKILL)
        _ = try await end()
    }

    /// Waits for the end; answers the exit code.
    func end() async throws -> Int32 {
        try await eventually("the program ends: \(errors)") { !process.isRunning }
        return process.terminationStatus
    }
}
