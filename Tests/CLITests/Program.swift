import Foundation
import Millrace
import MillraceTestSupport

/// The built program, run in a directory of its own.
final class Program: Sendable {
    struct Answer: Sendable {
        var status: Int32
        var output: String
        var errors: String

        /// The object on the last line.
        var json: [String: JSONValue] {
            get throws {
                guard let line = output.split(separator: "\n").last,
                    case .object(let members) = try JSONValue(json: String(line))
                else { throw TestSupportError("No JSON object on the last line of:\n\(output)\n\(errors)") }
                return members
            }
        }
    }

    let directory: URL
    private let database: String?

    /// - Parameters:
    ///   - database: What `MILLRACE_DATABASE_URL` says.
    ///   - mode: The directory's; at 0o700 only we get there.
    init(database: String? = nil, mode: Int = 0o755) throws {
        self.database = database
        directory = URL(filePath: "/tmp/millrace-cli-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(
            at: directory,
            withIntermediateDirectories: false,
            attributes: [.posixPermissions: mode]
        )
    }

    deinit {
        try? FileManager.default.removeItem(at: directory)
    }

    static let path: String = {
        let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().appending(path: "millrace").path(percentEncoded: false)
    }()

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: directory.appending(path: name))
        return name
    }

    func callAsFunction(_ arguments: String...) async throws -> Answer {
        try await run([Self.path] + arguments)
    }

    /// Runs a command here and waits for its end.
    func run(_ command: [String], environment extra: [String: String] = [:]) async throws -> Answer {
        try await process(command, environment: extra).answer
    }

    /// Starts a command here.
    func process(_ command: [String], environment extra: [String: String] = [:]) throws -> RunningProgram {
        var environment = ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "TERM": "xterm"]
        environment["PG_CONFIG"] = ProcessInfo.processInfo.environment["PG_CONFIG"]
        environment["MILLRACE_DATABASE_URL"] = database
        environment.merge(extra) { $1 }
        return try RunningProgram(command, directory: directory, environment: environment)
    }
}

/// A process and what it has written.
final class RunningProgram: @unchecked Sendable {
    // Unchecked: the process is only asked for its number and its end, which Foundation allows from any thread.
    private let process = Process()
    private let ended: AsyncStream<Int32>
    private let outputFile: String
    private let errorFile: String

    init(_ command: [String], directory: URL, environment: [String: String]) throws {
        let name = UUID().uuidString
        outputFile = directory.appending(path: ".\(name).out").path(percentEncoded: false)
        errorFile = directory.appending(path: ".\(name).err").path(percentEncoded: false)
        _ = FileManager.default.createFile(atPath: outputFile, contents: nil)
        _ = FileManager.default.createFile(atPath: errorFile, contents: nil)
        process.executableURL = URL(filePath: command[0])
        process.arguments = Array(command.dropFirst())
        process.currentDirectoryURL = directory
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: outputFile)
        process.standardError = FileHandle(forWritingAtPath: errorFile)
        let (ended, continuation) = AsyncStream.makeStream(of: Int32.self)
        self.ended = ended
        process.terminationHandler = {
            continuation.yield($0.terminationStatus)
            continuation.finish()
        }
        try process.run()
    }

    var output: String { (try? String(contentsOfFile: outputFile, encoding: .utf8)) ?? "" }
    var errors: String { (try? String(contentsOfFile: errorFile, encoding: .utf8)) ?? "" }

    func send(_ signal: Int32) {
        kill(process.processIdentifier, signal)
    }

    var answer: Program.Answer {
        get async throws {
            for await status in ended { return Program.Answer(status: status, output: output, errors: errors) }
            throw TestSupportError("The program has been waited for already.")
        }
    }
}
