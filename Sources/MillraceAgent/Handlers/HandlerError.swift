/// Why a step failed, and whether another try may help.
public struct HandlerError: Error, Sendable, Hashable {
    /// Whether the step's `retry` policy applies. If not, the step fails for good.
    public var isRetriable: Bool
    /// For people: names the thing and says what to do.
    public var message: String

    public init(_ message: String, isRetriable: Bool) {
        self.message = message
        self.isRetriable = isRetriable
    }

    /// Another try may succeed: the step is retried as its definition says.
    public static func retriable(_ message: String) -> Self { Self(message, isRetriable: true) }

    /// No try will succeed: bad settings, bad input.
    public static func fatal(_ message: String) -> Self { Self(message, isRetriable: false) }
}

extension HandlerError: CustomStringConvertible {
    public var description: String { message }
}
