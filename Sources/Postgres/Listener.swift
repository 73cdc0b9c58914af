import Logging
import ServiceLifecycle
import Synchronization

/// Listens to channels over a connection of its own, and again after each loss of it.
public final class Listener: Service, Sendable {
    public enum Event: Sendable, Hashable {
        /// These channels are listened to from now on: at the start, after each reconnection, and when the set has
        /// grown. What was sent before may have been missed: look for it.
        case listening(Set<String>)
        case notification(Notification)
    }

    private let database: PostgresConfiguration
    private let backOff: BackOff
    private let logger: Logger
    private let wanted: Mutex<Wanted>
    private let handler = Mutex<Handler?>(nil)
    private let stream: AsyncStream<Event>
    private let streamContinuation: AsyncStream<Event>.Continuation

    private struct Wanted {
        var channels: Set<String>
        /// Tells the connection, while there is one, that the set has changed.
        var changed: AsyncStream<Void>.Continuation?
    }

    /// A bare closure would be wrapped once more each time that it is read from a generic lock.
    private struct Handler {
        let call: @Sendable (Event) -> Void
    }

    public init(
        _ database: PostgresConfiguration,
        channels: Set<String> = [],
        backOff: BackOff = BackOff(),
        logger: Logger = Logger(label: "postgres.listener")
    ) {
        self.database = database
        self.backOff = backOff
        self.logger = logger
        wanted = Mutex(Wanted(channels: channels))
        (stream, streamContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(4096))
    }

    /// What happens, for one consumer. Ends when ``run()`` does.
    public var events: AsyncStream<Event> { stream }

    /// Passes what happens to `handler` instead of to ``events``: at once, on the thread that has read it, where it must
    /// not wait. For who cannot spare the switch of threads; to be set before ``run()``.
    public func handleEvents(with handler: @escaping @Sendable (Event) -> Void) {
        self.handler.withLock { $0 = Handler(call: handler) }
    }

    /// Replaces the set of channels.
    public func listen(to channels: Set<String>) {
        wanted.withLock { wanted in
            wanted.channels = channels
            wanted.changed?.yield()
        }
    }

    /// Listens until the task is cancelled or the service group shuts down.
    public func run() async throws {
        defer { streamContinuation.finish() }
        await cancelWhenGracefulShutdown {
            var failures = 0
            while !Task.isCancelled {
                do throws(PostgresError) {
                    let connection = try await Connection.connect(self.database, logger: self.logger)
                    defer { connection.close() }
                    failures = 0
                    throw await self.serve(connection)
                } catch {
                    if Task.isCancelled { return }
                    failures += 1
                    self.logger.warning(
                        "Not listening; trying again.",
                        metadata: ["database": "\(self.database)", "detail": "\(error.detail ?? error.message)"]
                    )
                    try? await Task.sleep(for: self.backOff.delay(attempt: failures))
                }
            }
        }
    }

    /// Passes on what comes, and follows changes of the set, until the connection ends. Answers why it did.
    private func serve(_ connection: Connection) async -> PostgresError {
        let (changes, changed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        wanted.withLock { $0.changed = changed }
        connection.onNotification { self.pass(on: .notification($0)) }
        return await withTaskGroup(of: PostgresError.self) { group in
            group.addTask {
                // Ends with the connection; notifications go to the handler.
                for await _ in connection.notifications {}
                return .connectionLost("")
            }
            group.addTask {
                do throws(PostgresError) {
                    var current = try await self.update([], on: connection, isFirst: true)
                    for await _ in changes { current = try await self.update(current, on: connection) }
                    return .taskCancelled
                } catch {
                    return error
                }
            }
            let reason = await group.next() ?? .connectionClosed
            group.cancelAll()
            return reason
        }
    }

    private func update(
        _ current: Set<String>,
        on connection: Connection,
        isFirst: Bool = false
    ) async throws(PostgresError) -> Set<String> {
        let channels = wanted.withLock { $0.channels }
        let added = channels.subtracting(current)
        let statements =
            current.subtracting(channels).map { "UNLISTEN " + Connection.quoteIdentifier($0) }
            + added.map { "LISTEN " + Connection.quoteIdentifier($0) }
        _ = try await connection.call(statements.map { Statement($0, prepared: false) })
        if isFirst || !added.isEmpty { pass(on: .listening(channels)) }
        return channels
    }

    private func pass(on event: Event) {
        if let handler = handler.withLock({ $0 }) { handler.call(event) } else { streamContinuation.yield(event) }
    }
}
