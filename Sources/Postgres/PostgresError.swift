/// What went wrong between this program and PostgreSQL, in the server's own words where the server spoke.
///
/// The fields live in one immutable object, so that a typed `throws` passes a single pointer.
public struct PostgresError: Error, Sendable, Hashable {
    /// What kind of error it is; new kinds may be added.
    public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        public var rawValue: String

        public init(rawValue: String) { self.rawValue = rawValue }

        public var description: String { rawValue }

        /// The server raised an error; ``PostgresError/sqlState`` says which.
        public static let server = Self(rawValue: "server")
        /// The connection could not be made.
        public static let connectionFailed = Self(rawValue: "connection_failed")
        /// The connection broke; nobody knows whether the call was carried out.
        public static let connectionLost = Self(rawValue: "connection_lost")
        /// Connecting, or waiting for a free connection, took too long.
        public static let timeout = Self(rawValue: "timeout")
        /// The calling task was cancelled.
        public static let cancelled = Self(rawValue: "cancelled")
        /// The call was rolled back through no fault of its own: the cancelling of an earlier call in the same pipeline
        /// hit it, or a statement that the server kept has become invalid. Repeat it.
        public static let interrupted = Self(rawValue: "interrupted")
        /// The connection or the pool had been closed by this program.
        public static let closed = Self(rawValue: "closed")
        /// The connection string cannot be understood.
        public static let invalidConfiguration = Self(rawValue: "invalid_configuration")
        /// A parameter cannot be sent.
        public static let invalidParameter = Self(rawValue: "invalid_parameter")
        /// A value of the answer is not of the type that was asked for.
        public static let unexpectedValue = Self(rawValue: "unexpected_value")
    }

    private final class Storage: Sendable, Hashable {
        let code: Code
        let sqlState: String?
        let message: String
        let detail: String?
        let hint: String?
        let context: String?

        init(
            _ code: Code,
            _ sqlState: String?,
            _ message: String,
            _ detail: String?,
            _ hint: String?,
            _ context: String?
        ) {
            self.code = code
            self.sqlState = sqlState
            self.message = message
            self.detail = detail
            self.hint = hint
            self.context = context
        }

        static func == (a: Storage, b: Storage) -> Bool {
            a.code == b.code && a.sqlState == b.sqlState && a.message == b.message && a.detail == b.detail
                && a.hint == b.hint && a.context == b.context
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(code)
            hasher.combine(sqlState)
            hasher.combine(message)
        }
    }

    private let storage: Storage

    public init(
        _ code: Code,
        _ message: String,
        sqlState: String? = nil,
        detail: String? = nil,
        hint: String? = nil,
        context: String? = nil
    ) {
        storage = Storage(code, sqlState, message, detail, hint, context)
    }

    public var code: Code { storage.code }
    /// The five characters by which the server names the error.
    public var sqlState: String? { storage.sqlState }
    /// What happened.
    public var message: String { storage.message }
    /// The facts.
    public var detail: String? { storage.detail }
    /// What to do about it.
    public var hint: String? { storage.hint }
    /// Where in the server's code (functions, statements) it happened.
    public var context: String? { storage.context }
}

extension PostgresError {
    /// Whether the same call may be made again, as it is, and can be expected to succeed: a deadlock, a serialization
    /// failure, a server that restarts or is full, a lost connection.
    public var isRetriable: Bool {
        if isConnectionLoss || code == .interrupted { return true }
        return ["40001", "40P01", "53300"].contains(sqlState)
    }

    /// Whether the connection is gone, or never came to be.
    public var isConnectionLoss: Bool {
        if code == .connectionLost { return true }
        guard let sqlState else { return code == .connectionFailed }
        return sqlState.hasPrefix("08") || ["57P01", "57P02", "57P03"].contains(sqlState)
    }

    /// Whether trying again cannot help before a person has changed something: wrong password, unknown database or role.
    var isRefusal: Bool {
        guard let sqlState else { return code == .invalidConfiguration }
        return sqlState.hasPrefix("28") || sqlState == "3D000" || sqlState == "42501"
    }
}

extension PostgresError: CustomStringConvertible {
    public var description: String {
        var text = sqlState.map { "\($0): \(message)" } ?? message
        if let detail { text += "\n  Detail: \(detail)" }
        if let hint { text += "\n  Hint: \(hint)" }
        if let context { text += "\n  Context: \(context)" }
        return text
    }
}

extension PostgresError {
    static func connectionLost(_ message: String) -> Self {
        Self(
            .connectionLost,
            "The connection to the database was lost.",
            detail: message.isEmpty ? nil : message,
            hint: "Whether the call was carried out is not known: look, or repeat it if it may be repeated."
        )
    }

    static let taskCancelled = Self(.cancelled, "The task that made the call was cancelled.")
    static let connectionClosed = Self(.closed, "The connection is closed.", hint: "Open another one.")
}
