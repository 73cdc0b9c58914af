import Logging
import Postgres
import ServiceLifecycle
import Synchronization

/// The events of a subscription in batches, for as long as it runs.
///
/// ```swift
/// try await EventReader.with(database, subscription: "audit") { reader in
///     for await batch in reader.batches {
///         try await archive(batch.events)
///         reader.delivered(batch)
///     }
/// }
/// ```
///
/// It reads ahead while batches are dealt with, stops reading where nobody takes them, and stores the position once a
/// second and at the end, never before what it stands for was ``delivered(_:)``: at least once. A database that goes
/// away is waited for.
public final class EventReader: Service, Sendable {
    public let subscription: String
    public let configuration: Configuration
    let database: PostgresConfiguration
    let logger: Logger
    let beforeStoring: @Sendable () async throws -> Void
    let metrics: EventReaderMetrics

    struct State {
        var buffer: EventBuffer
        /// When the last look began that brought something, and that of which something was handed out last.
        var lookedAt = ContinuousClock.now
        var handedOutAt: ContinuousClock.Instant?
        var waitsForRoom = false
        /// Whether the database says when there are new events.
        var isNotified = false
        var isStopping = false
        /// Whether who takes batches has seen the end.
        var isLeft = false
    }

    let state: Mutex<State>
    /// For who reads: new events in the database, room in the buffer, the end.
    let news = Signal()
    /// For who takes batches: events in the buffer, the end.
    private let arrivals = Signal()
    /// For the end: the last batch has been dealt with.
    private let settled = Signal()

    /// - Parameters:
    ///   - subscription: Its name; it must exist when ``run()`` is called.
    ///   - beforeStoring: Called before a position is stored, to make durable what was dealt with.
    public init(
        _ database: PostgresConfiguration,
        subscription: String,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "millrace.events"),
        beforeStoring: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.database = database
        self.subscription = subscription
        self.configuration = configuration
        self.logger = logger
        self.beforeStoring = beforeStoring
        metrics = EventReaderMetrics(subscription: subscription)
        let buffer = EventBuffer(
            capacity: configuration.capacity,
            window: configuration.window,
            filter: configuration.filter
        )
        state = Mutex(State(buffer: buffer))
    }

    // MARK: Taking

    /// What there is to deal with, for one consumer. Ends when ``run()`` does, or is about to.
    public var batches: Batches { Batches(reader: self) }

    public struct Batches: AsyncSequence, AsyncIteratorProtocol, Sendable {
        fileprivate let reader: EventReader

        public func makeAsyncIterator() -> Batches { self }
        public mutating func next() async -> EventBatch? { await reader.next() }
    }

    /// All up to this batch has been dealt with: its position may be stored.
    public func delivered(_ batch: EventBatch) {
        state.withLock { $0.buffer.delivered(batch) }
        settled.ring()
    }

    /// How many events have been read and not been taken.
    public var buffered: Int { state.withLock { $0.buffer.count } }

    private enum Next {
        case batch(EventBatch, left: Int, wakeReader: Bool)
        case wait(Duration?)
        case end
    }

    private func next() async -> EventBatch? {
        while !Task.isCancelled {
            switch state.withLock({ next(in: &$0, now: .now) }) {
            case .batch(let batch, let left, let wakeReader):
                metrics.took(buffered: left)
                if wakeReader { news.ring() }
                return batch
            case .wait(let limit):
                if let limit { await arrivals.wait(for: limit) } else { await arrivals.wait() }
            case .end:
                settled.ring()
                return nil
            }
        }
        return nil
    }

    private func next(in state: inout State, now: ContinuousClock.Instant) -> Next {
        if state.isStopping {
            state.isLeft = true
            return .end
        }
        // After a silence at once; where one batch follows another, those that are not full keep a distance.
        if !state.buffer.isEmpty, state.buffer.count < configuration.batchSize,
            let due = state.handedOutAt.map({ $0 + configuration.flushDelay }), now < due
        {
            return .wait(due - now)
        }
        guard let batch = state.buffer.take(max: configuration.batchSize) else { return .wait(nil) }
        state.handedOutAt = state.lookedAt
        let wakeReader = state.waitsForRoom && hasRoom(state.buffer)
        if wakeReader { state.waitsForRoom = false }
        return .batch(batch, left: state.buffer.count, wakeReader: wakeReader)
    }

    /// Room for a whole read: fewer and larger reads cost the server less.
    func hasRoom(_ buffer: EventBuffer) -> Bool { buffer.count + configuration.readSize <= buffer.capacity }

    /// Takes up what was read.
    func add(_ events: [Event], lookedAt: ContinuousClock.Instant) {
        let (added, depth) = state.withLock { state in
            let added = state.buffer.add(events)
            if added.kept > 0 { state.lookedAt = lookedAt }
            return (added, state.buffer.count)
        }
        metrics.added(added, buffered: depth, in: .now - lookedAt)
        if added.kept > 0 { arrivals.ring() }
    }

    // MARK: Running

    /// Reads until a graceful shutdown, ``stop()`` or cancellation. A batch that has been taken may still be dealt with
    /// within the grace period; what was only read ahead is left to the next one.
    ///
    /// - Throws: What the database refuses for good: an unknown subscription, a standby, a position that somebody else
    ///   has moved.
    public func run() async throws {
        try configuration.check()
        let pool = Pool(database, configuration: Self.pool, logger: logger)
        let listener = Listener(database, channels: [Self.channel], backOff: configuration.reconnect, logger: logger)
        let loop = Loop(reader: self, client: Client(pool: pool), listener: listener)
        let services = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: pool), .init(service: listener),
                    .init(service: loop, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                logger: Logger(label: "millrace.events") { _ in SwiftLogNoOpLogHandler() }
            )
        )
        defer { stop() }
        try await services.run()
    }

    /// Ends ``run()`` as a graceful shutdown does.
    public func stop() {
        state.withLock { $0.isStopping = true }
        news.ring()
        arrivals.ring()
    }

    /// Runs a reader while `body` goes on, and stops it then.
    public static func with(
        _ database: PostgresConfiguration,
        subscription: String,
        configuration: Configuration = .init(),
        logger: Logger = Logger(label: "millrace.events"),
        _ body: @escaping @Sendable (EventReader) async throws -> Void
    ) async throws {
        let reader = EventReader(database, subscription: subscription, configuration: configuration, logger: logger)
        try await reader.run { try await body(reader) }
    }

    /// Runs while `body` does, which takes batches. Where the reader has to end first, `body` is given the grace period,
    /// then cancelled.
    public func run(while body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Part.self) { group in
            group.addTask {
                try await self.run()
                return .reader
            }
            group.addTask {
                defer { self.leave() }
                try await body()
                return .body
            }
            var failure: (any Error)?
            var hasEnded = false
            while let result = await group.nextResult() {
                switch result {
                case .success(.body): break
                case .success(.reader):
                    hasEnded = true
                    group.cancelAll()
                case .failure(is CancellationError) where hasEnded: break
                case .failure(let error):
                    failure = failure ?? error
                    // A body that failed has left; the reader still stores what was delivered.
                    if !state.withLock({ $0.isLeft }) { group.cancelAll() }
                }
            }
            if let failure { throw failure }
        }
    }

    private enum Part { case reader, body }

    /// Nobody takes batches any more.
    private func leave() {
        state.withLock { $0.isLeft = true }
        stop()
        settled.ring()
    }

    /// For who deals with a batch: waits, unless the end comes.
    ///
    /// - Returns: Whether to go on.
    public func pause(for duration: Duration) async -> Bool {
        let deadline = ContinuousClock.now + duration
        while true {
            if Task.isCancelled || state.withLock({ $0.isStopping }) { return false }
            let rest = deadline - .now
            guard rest > .zero else { return true }
            await arrivals.wait(for: rest)
        }
    }

    /// One connection reads, one stores positions.
    private static let pool: Pool.Configuration = {
        var pool = Pool.Configuration(name: "events")
        (pool.min, pool.max) = (1, 2)
        return pool
    }()

    private static let channel = "millrace_events"

    /// Waits until nobody deals with a batch any more, within the grace period.
    func settle() async {
        let deadline = ContinuousClock.now + configuration.gracePeriod
        while !Task.isCancelled, state.withLock({ $0.buffer.isDelivering && !$0.isLeft }) {
            let rest = deadline - .now
            guard rest > .zero else { break }
            await settled.wait(for: rest)
        }
    }
}
