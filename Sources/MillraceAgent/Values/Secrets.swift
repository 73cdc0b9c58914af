import Foundation
import Subprocess

/// Where the values of `secret://NAME` come from. They are looked up when a step starts, and kept nowhere.
struct Secrets: Sendable {
    let sources: AgentConfiguration.Secrets

    private static let errorClass = "secret"

    /// The first that knows it: the environment, the directory, the command.
    func value(of name: String) async throws -> String {
        let variable = Self.variable(for: name)
        if let value = ProcessInfo.processInfo.environment[variable] { return value }
        if let directory = sources.directory {
            let path = "\(directory)/\(name)"
            // "." and ".." are no secrets.
            if name.contains(where: { $0 != "." }), let value = try? String(contentsOfFile: path, encoding: .utf8) {
                return Self.withoutLastLineBreak(value)
            }
        }
        if let command = sources.command { return try await ask(command, for: name) }
        let tried = ["the environment (\(variable))", sources.directory].compactMap { $0 }.joined(separator: ", ")
        throw HandlerError.fatal("There is no secret \(name) on this agent; looked for in: \(tried).", errorClass: Self.errorClass)
    }

    /// `MILLRACE_SECRET_` and the name in capitals, with `_` for what no variable may have.
    static func variable(for name: String) -> String {
        "MILLRACE_SECRET_" + String(name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }

    /// What the command says may be a secret, whatever its exit code: it is told to nobody.
    private func ask(_ command: [String], for name: String) async throws -> String {
        guard let program = command.first else { throw HandlerError.fatal("The command for secrets is empty.", errorClass: Self.errorClass) }
        let result: ExecutionResult<Void, StringOutput<UTF8>, DiscardedOutput>
        do {
            result = try await Subprocess.run(
                program.contains("/") ? .path(.init(program)) : .name(program),
                arguments: Arguments(Array(command.dropFirst()) + [name]),
                input: .none,
                output: .string(limit: 1 << 20),
                error: .discarded
            )
        } catch {
            try Task.checkCancellation()
            throw HandlerError.retriable(
                "The command for secrets, \(program), could not be run for \(name).",
                errorClass: Self.errorClass
            )
        }
        guard result.terminationStatus.isSuccess else {
            throw HandlerError.fatal(
                "There is no secret \(name) on this agent: \(program) did not find it.",
                errorClass: Self.errorClass
            )
        }
        return Self.withoutLastLineBreak(result.standardOutput)
    }

    private static func withoutLastLineBreak(_ text: String) -> String {
        text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}

/// The secrets that one step was given, to be taken out of what it says.
struct Redaction: Sendable {
    /// Shorter ones stand in too many texts by chance.
    static let minLength = 4
    static let mark = "[secret]"

    /// The longest first: one may be part of another.
    private let secrets: [String]

    init(_ secrets: [String]) {
        // Logs are written line by line.
        let parts = secrets + secrets.flatMap { $0.split(separator: "\n").map(String.init) }
        self.secrets = Set(parts.filter { $0.utf8.count >= Self.minLength })
            .sorted { ($0.utf8.count, $0) > ($1.utf8.count, $1) }
    }

    var isEmpty: Bool { secrets.isEmpty }

    func applied(to text: String) -> String {
        secrets.reduce(text) { $0.replacing($1, with: Self.mark) }
    }
}
