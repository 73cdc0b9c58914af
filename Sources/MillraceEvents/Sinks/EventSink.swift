import Millrace

/// Where events are delivered.
///
/// Calls come one after the other. The same events may be delivered again after a crash: at least once.
public protocol EventSink: Sendable {
    /// Where that is, for logs, without secrets.
    var place: String { get }

    /// Delivers events.
    ///
    /// - Throws: ``SinkError``; any other error is final.
    func deliver(_ events: [Event]) async throws

    /// Makes durable what has been delivered. Called before a position is stored, beside `deliver`.
    func flush() async throws

    /// Called once, when nothing more is delivered.
    func close() async
}

extension EventSink {
    public func flush() async throws {}
    public func close() async {}
}

/// A sink did not take events.
public struct SinkError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Names the sink and what it said.
    public var message: String
    /// Whether to deliver the same again.
    public var isRetriable: Bool
    /// How long the sink wants to be left alone.
    public var retryAfter: Duration?

    public init(_ message: String, isRetriable: Bool, retryAfter: Duration? = nil) {
        self.message = message
        self.isRetriable = isRetriable
        self.retryAfter = retryAfter
    }

    public var description: String { message }
}
