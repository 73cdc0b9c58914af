import CLibpq
import Glibc
import Logging
import Synchronization

extension Connection {
    /// Makes a connection. Takes no longer than `connectTimeout`, name resolution included.
    public static func connect(
        _ configuration: PostgresConfiguration,
        logger: Logger = Logger(label: "postgres")
    ) async throws(PostgresError) -> Connection {
        let attempt = ConnectionAttempt(configuration, logger: logger)
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { attempt.start($0) }
        } onCancel: {
            attempt.finish(.failure(.taskCancelled))
        }.get()
    }
}

/// One try to connect, on a thread of its own. Resolving a name cannot be interrupted, so the attempt has an end of
/// its own: whoever comes first, the thread, the deadline or a cancelled task, gives the answer.
private final class ConnectionAttempt: Sendable {
    typealias Answer = Swift.Result<Connection, PostgresError>

    private enum State {
        case begun
        case waiting(CheckedContinuation<Answer, Never>)
        case finished(Answer?)
    }

    private let configuration: PostgresConfiguration
    private let logger: Logger
    private let deadline: ContinuousClock.Instant
    private let state = Mutex(State.begun)

    init(_ configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        deadline = .now + configuration.connectTimeout
    }

    func start(_ continuation: CheckedContinuation<Answer, Never>) {
        let early: Answer? = state.withLock { state in
            if case .finished(let answer) = state { return answer }
            state = .waiting(continuation)
            return nil
        }
        if let early { return continuation.resume(returning: early) }
        BlockingThread.start { [self] in finish(connect()) }
        // Not a child: the attempt outlives the call when the name server does not answer. It ends at the deadline,
        // a little later than the thread, which knows better what it waits for.
        Task { [self] in
            try await Task.sleep(until: deadline + .milliseconds(200))
            finish(.failure(timeout(nil)))
        }
    }

    func finish(_ answer: Answer) {
        let continuation: CheckedContinuation<Answer, Never>? = state.withLock { state in
            switch state {
            case .begun:
                state = .finished(answer)
                return nil
            case .waiting(let continuation):
                state = .finished(nil)
                return continuation
            case .finished:
                return nil
            }
        }
        if let continuation {
            continuation.resume(returning: answer)
        }
    }

    private var isFinished: Bool {
        state.withLock { if case .finished = $0 { true } else { false } }
    }

    // MARK: On the thread

    private func connect() -> Answer {
        let parameters = configuration.connectionParameters
        guard let handle = Self.start(parameters) else {
            return .failure(PostgresError(.connectionFailed, "libpq is out of memory."))
        }
        let notices = NoticeReceiver(logger: logger)
        notices.attach(to: handle)
        // So that the message of a refusal begins with its SQLSTATE, which libpq does not tell otherwise.
        PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        // libpq points at the receiver without keeping it.
        if let error = withExtendedLifetime(notices, { establish(handle) }) {
            PQfinish(handle)
            return .failure(error)
        }
        guard let registration = Reactor.shared.register(PQsocket(handle)) else {
            defer { PQfinish(handle) }
            return .failure(
                PostgresError(
                    .connectionFailed,
                    "The connection could not be watched: \(String(cString: strerror(errno))).",
                    hint: "Raise the limit of open files, or use fewer connections."
                )
            )
        }
        let libpq = LibpqConnection(owning: handle, notices: notices)
        return .success(Connection(libpq, registration, notices: notices, logger: logger))
    }

    private static func start(_ parameters: [String: String]) -> OpaquePointer? {
        let names = parameters.keys.map { strdup($0) }
        let values = parameters.values.map { strdup($0) }
        defer { for text in names + values { free(text) } }
        let (namePointers, valuePointers) = (names.map { UnsafePointer($0) }, values.map { UnsafePointer($0) })
        return PQconnectStartParams(namePointers + [nil], valuePointers + [nil], 0)
    }

    /// Drives libpq until the connection stands. What it waits for, and on which socket, may change with each step.
    private func establish(_ handle: OpaquePointer) -> PostgresError? {
        if PQstatus(handle) == CONNECTION_BAD { return failure(handle) }
        var step = PGRES_POLLING_WRITING
        while true {
            switch step {
            case PGRES_POLLING_OK: return nil
            case PGRES_POLLING_FAILED: return failure(handle)
            default: break
            }
            var socket = pollfd()
            socket.fd = PQsocket(handle)
            socket.events = Int16(step == PGRES_POLLING_READING ? POLLIN : POLLOUT)
            // Looks up now and then to see whether anybody still wants the connection.
            if poll(&socket, 1, 100) == 0 {
                if isFinished { return .taskCancelled }
                if ContinuousClock.now >= deadline { return timeout(handle) }
                continue
            }
            step = PQconnectPoll(handle)
        }
    }

    private func timeout(_ handle: OpaquePointer?) -> PostgresError {
        let soFar = handle.map { String(cString: PQerrorMessage($0)).trimmed } ?? ""
        return PostgresError(
            .timeout,
            "The database \(configuration) did not answer within \(configuration.connectTimeout).",
            detail: soFar.isEmpty ? nil : soFar,
            hint: "Check host, port and network, or raise connect_timeout."
        )
    }

    private func failure(_ handle: OpaquePointer) -> PostgresError {
        PostgresError(connecting: String(cString: PQerrorMessage(handle)), to: configuration)
    }
}

extension PostgresError {
    /// Reads libpq's verbose message: `connection to server at "…" failed: FATAL:  28P01:  password …` and a line that
    /// says where in the server's source. With several hosts there are several; the last one counts.
    init(connecting message: String, to configuration: PostgresConfiguration) {
        let lines = message.trimmed.split(separator: "\n").filter { !$0.hasPrefix("LOCATION:") }
        var sqlState: String?
        let cleaned = lines.map { line in
            guard let match = line.firstMatch(of: #/:  ([0-9A-Z]{5}): /#) else { return String(line) }
            sqlState = String(match.1)
            return String(line.replacing(match.0, with: ": "))
        }
        self.init(
            .connectionFailed,
            "The database \(configuration) could not be reached.",
            sqlState: sqlState,
            detail: cleaned.joined(separator: "\n"),
            hint: Self.hint(forConnecting: sqlState)
        )
    }

    private static func hint(forConnecting sqlState: String?) -> String {
        switch sqlState {
        case "28P01": "Check user and password."
        case "28000": "Check user and database; pg_hba.conf on the server says who may enter from where."
        case "3D000": "Create the database, or correct its name."
        case "53300": "The server is full: use fewer connections, or raise max_connections."
        case "57P03": "The server is starting or stopping: try again."
        case nil: "Check that the server runs, and that host and port are right."
        default: "The server's log may say more."
        }
    }
}
