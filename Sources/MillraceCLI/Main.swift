import ArgumentParser
import Glibc
import Logging
import Millrace
import MillraceAgent
import MillraceEvents
import Postgres

/// Parses, runs, and says what went wrong and with which exit code.
@main
struct Main {
    static func main() async {
        BrokenPipe.survived
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = .error
            return handler
        }
        do {
            var command = try MillraceCommand.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            exit(with: error)
        }
    }

    private static func exit(with error: any Error) -> Never {
        switch error {
        case let error as MillraceError:
            Terminal.error.print("\(Terminal.error.style("millrace:", .red)) \(error)")
            Glibc.exit(ExitStatus(of: error).rawValue)
        case let status as ExitStatus:
            Glibc.exit(status.rawValue)
        case let error as PostgresError:
            exit(with: MillraceError(error))
        case let error as AgentConfigurationError:
            exit(with: MillraceError(.malformed, error.message))
        case let error as SinkError:
            Terminal.error.print("\(Terminal.error.style("millrace:", .red)) \(error)")
            Glibc.exit(ExitStatus.failed.rawValue)
        case is CancellationError:
            Glibc.exit(ExitStatus.failed.rawValue)
        default:
            // Help, the version, and usage errors. The library's code for the last is not ours.
            let code = MillraceCommand.exitCode(for: error)
            let text = MillraceCommand.fullMessage(for: error)
            (code.isSuccess ? Terminal.output : Terminal.error).print(text)
            Glibc.exit(code == .validationFailure ? ExitStatus.usage.rawValue : code.rawValue)
        }
    }
}

/// How the program ends.
enum ExitStatus: Int32, Error {
    case done = 0
    /// The run that was watched failed or was cancelled, or a check did not pass.
    case failed = 1
    /// The command, the file, or what was asked for is wrong.
    case usage = 2
    /// The database could not be reached, or has no millrace.
    case unreachable = 3

    init(of error: MillraceError) {
        switch error.code {
        case .unreachable, .notInstalled: self = .unreachable
        case _ where error.isConnectionLoss: self = .unreachable
        case .embedded, .unexpectedAnswer: self = .failed
        default: self = .usage
        }
    }
}
