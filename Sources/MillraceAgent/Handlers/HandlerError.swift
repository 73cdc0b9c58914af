/// Why a step failed, and whether another try may help.
public struct HandlerError: Error, Sendable, Hashable {
    /// Whether the step's `retry` policy applies. If not, the step fails for good.
    public var isRetriable: Bool
    /// For people: names the thing and says what to do.
    public var message: String
    /// What kind of failure it is, for `retry.on` and `retry.never_on`: a word, with what is told more closely behind
    /// colons, as in `http:404` or `exit:3`. `error`, or `fatal`, where nil.
    public var errorClass: String?

    public init(_ message: String, isRetriable: Bool, errorClass: String? = nil) {
        self.message = message
        self.isRetriable = isRetriable
        self.errorClass = errorClass
    }

    /// Another try may succeed: the step is retried as its definition says.
    public static func retriable(_ message: String, errorClass: String? = nil) -> Self {
        Self(message, isRetriable: true, errorClass: errorClass)
    }

    /// No try will succeed: bad settings, bad input.
    public static func fatal(_ message: String, errorClass: String? = nil) -> Self {
        Self(message, isRetriable: false, errorClass: errorClass)
    }
}

extension HandlerError: CustomStringConvertible {
    public var description: String { message }
}
