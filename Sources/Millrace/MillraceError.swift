import Postgres

/// What went wrong, in the words of the server where the server said it.
public struct MillraceError: Error, Sendable, Hashable {
    /// What kind of error it is: a SQLSTATE of class `MR` from the extension, or a name of this library's own.
    public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        public var rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }
    }

    public var code: Code
    /// What happened.
    public var message: String
    /// The facts.
    public var detail: String?
    /// What to do about it.
    public var hint: String?
    /// The server's SQLSTATE, where the server raised it.
    public var sqlState: String?
    /// Whether the same call may be made again: a deadlock, a serialization failure, a lost connection.
    public var isRetriable: Bool
    /// Whether the connection was lost, so that nobody knows if the call was carried out.
    public var isConnectionLoss: Bool

    public init(
        _ code: Code,
        _ message: String,
        detail: String? = nil,
        hint: String? = nil,
        sqlState: String? = nil,
        isRetriable: Bool = false,
        isConnectionLoss: Bool = false
    ) {
        self.code = code
        self.message = message
        self.detail = detail
        self.hint = hint
        self.sqlState = sqlState
        self.isRetriable = isRetriable
        self.isConnectionLoss = isConnectionLoss
    }
}

extension MillraceError.Code {
    /// A file cannot be read.
    public static let unreadable = Self(rawValue: "unreadable")
    /// A text is not what it should be: no JSON, no YAML, no WfFormat.
    public static let malformed = Self(rawValue: "malformed")
    /// What was read is not what was written: its checksum is another one.
    public static let damaged = Self(rawValue: "damaged")
    /// A format, or a version of it, that this library does not read.
    public static let unsupported = Self(rawValue: "unsupported")
    /// The database could not be reached, or did not let us in.
    public static let unreachable = Self(rawValue: "unreachable")
    /// The database has no usable millrace extension.
    public static let notInstalled = Self(rawValue: "not_installed")
    /// The embedded database could not be made or started.
    public static let embedded = Self(rawValue: "embedded")
    /// The answer of the server is not of the expected shape.
    public static let unexpectedAnswer = Self(rawValue: "unexpected_answer")
    /// The agent is not registered, or its lease is long over: register again.
    public static let unknownAgent = Self(rawValue: "MR021")
    /// Agent and extension have no protocol number in common.
    public static let protocolNotSupported = Self(rawValue: "MR022")
    /// The database is a copy from another cluster that nobody has adopted.
    public static let notAdopted = Self(rawValue: "MR024")
    /// The step was handed out again or has ended: what is being done for it does not count any more.
    public static let staleHandOut = Self(rawValue: "MR041")
    /// No step of the run waits for a signal of that name.
    public static let unknownSignal = Self(rawValue: "MR015")
    /// The step does not wait for a person, or no longer.
    public static let notWaitingForPerson = Self(rawValue: "MR037")
    /// An answer, or an output, is not of the shape that the definition asks for.
    public static let misshapen = Self(rawValue: "MR045")
    /// An argument is not what it may be.
    public static let malformedArgument = Self(rawValue: "MR001")
    /// An artifact is larger than the database takes.
    public static let artifactTooLarge = Self(rawValue: "MR081")
    /// A step has too many artifacts, or they are too large together.
    public static let tooManyArtifacts = Self(rawValue: "MR082")
    /// There is no such artifact.
    public static let unknownArtifact = Self(rawValue: "MR085")
    /// There is no such subscription.
    public static let unknownSubscription = Self(rawValue: "MR061")
    /// A position that was read before the server was restarted; reading goes on at the stored one.
    public static let positionOfEarlierServer = Self(rawValue: "MR062")
    /// Retention has dropped events that the subscription had not read.
    public static let overtaken = Self(rawValue: "MR064")
    /// Something that was asked for does not exist.
    public static let notFound = Self(rawValue: "not_found")
}

extension MillraceError: CustomStringConvertible {
    public var description: String {
        var text = message
        if let detail { text += "\n  \(detail)" }
        if let hint { text += "\n  Hint: \(hint)" }
        return text
    }
}
