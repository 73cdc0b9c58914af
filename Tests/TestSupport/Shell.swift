import Subprocess
import SystemPackage

/// What the tests' own helpers complain of.
public struct TestSupportError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// Runs programs.
public enum Shell {
    /// Runs a command to its end; answers what it printed, and throws what it complained of when it failed.
    @discardableResult
    public static func run(_ command: [String]) async throws -> String {
        let result = try await Subprocess.run(
            executable(command[0]),
            arguments: Arguments(Array(command.dropFirst())),
            workingDirectory: "/",
            output: .string(limit: 64 * 1024 * 1024),
            error: .string(limit: 1024 * 1024)
        )
        let output = result.standardOutput
        guard result.terminationStatus.isSuccess else {
            throw TestSupportError(
                "\(command.joined(separator: " ")): \(result.terminationStatus)\n\(result.standardError)\(output)"
            )
        }
        return output
    }

    static func executable(_ program: String) -> Executable {
        program.hasPrefix("/") ? .path(FilePath(program)) : .name(program)
    }
}
