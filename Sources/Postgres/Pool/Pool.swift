import Logging
import ServiceLifecycle
import Synchronization

/// Connections to one database, handed out first come, first served, and made and closed within bounds.
///
/// It works while ``run()`` does, usually inside a service group; ``with(_:configuration:logger:isolation:_:)`` does both.
public final class Pool: Service, Sendable {
    typealias State = PoolState<Connection, Waiter>

    let database: PostgresConfiguration
    let logger: Logger
    private let state: Mutex<State>
    private let metrics: PoolMetrics
    private let name: String
    private let tendInterval: Duration
    private let lastWaiter = Atomic<UInt64>(0)
    private let work: AsyncStream<Work>
    private let workContinuation: AsyncStream<Work>.Continuation
    private let someoneWaits: AsyncStream<Void>
    private let someoneWaitsContinuation: AsyncStream<Void>.Continuation

    /// A caller without a connection.
    struct Waiter: Sendable {
        let continuation: CheckedContinuation<Swift.Result<State.Lease, PostgresError>, Never>
        let since: ContinuousClock.Instant
    }

    /// What ``run()`` does for the others: connect, after a delay.
    private struct Work: Sendable {
        let delay: Duration
    }

    public init(
        _ database: PostgresConfiguration,
        configuration: Configuration = Configuration(),
        logger: Logger = Logger(label: "postgres.pool")
    ) {
        self.database = database
        self.logger = logger
        name = configuration.name
        state = Mutex(State(configuration))
        metrics = PoolMetrics(pool: configuration.name)
        tendInterval = Swift.max(
            .milliseconds(20),
            Swift.min(.seconds(5), configuration.idleTimeout / 4, configuration.lifetime / 4)
        )
        (work, workContinuation) = AsyncStream.makeStream()
        (someoneWaits, someoneWaitsContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// What the pool looks like now.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// Changes the bounds. Connections beyond the maximum are closed when they are free.
    public func resize(min: Int? = nil, max: Int? = nil) {
        follow(state.withLock { $0.resize(min: min, max: max, now: .now) })
    }

    // MARK: Running

    /// Makes and closes connections until the task is cancelled or the service group shuts down; then waits for
    /// nobody: connections in use are closed when they come back.
    public func run() async throws {
        follow(state.withLock { $0.start() })
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.tend() }
                group.addTask { await self.watchDeadlines() }
                for await item in self.work {
                    group.addTask { await self.connect(after: item.delay) }
                }
                group.cancelAll()
            }
        }
        follow(state.withLock { $0.close() })
    }

    /// Runs a pool around `body`.
    public static func with<R>(
        _ database: PostgresConfiguration,
        configuration: Configuration = Configuration(),
        logger: Logger = Logger(label: "postgres.pool"),
        isolation: isolated (any Actor)? = #isolation,
        _ body: (Pool) async throws -> R
    ) async throws -> R {
        let pool = Pool(database, configuration: configuration, logger: logger)
        // Not a child, so that the body's value need not be Sendable; it is ended and awaited on every way out.
        let running = Task { try await pool.run() }
        let result: Swift.Result<R, any Error>
        do {
            result = .success(try await body(pool))
        } catch {
            result = .failure(error)
        }
        running.cancel()
        _ = await running.result
        return try result.get()
    }

    private func connect(after delay: Duration) async {
        if delay > .zero { try? await Task.sleep(for: delay) }
        do {
            let connection = try await Connection.connect(database, logger: logger)
            metrics.connects.increment()
            follow(state.withLock { $0.connected(connection, now: .now) })
            connection.onClose { [weak self, weak connection] reason in
                guard let self, let connection else { return }
                connectionEnded(connection, reason)
            }
        } catch {
            if error.code != .cancelled {
                logger.warning(
                    "The database could not be reached.",
                    metadata: [
                        "pool": "\(name)", "database": "\(database)", "detail": "\(error.detail ?? error.message)",
                    ]
                )
            }
            follow(state.withLock { $0.connectFailed(error, now: .now) })
        }
    }

    private func connectionEnded(_ connection: Connection, _ reason: PostgresError) {
        follow(state.withLock { $0.lost(connection) })
        guard reason.code != .closed else { return }
        metrics.losses.increment()
        logger.warning(
            "A connection was lost.",
            metadata: ["pool": "\(name)", "database": "\(database)", "detail": "\(reason.detail ?? reason.message)"]
        )
    }

    private func tend() async {
        while (try? await Task.sleep(for: tendInterval)) != nil {
            follow(state.withLock { $0.tend(now: .now) })
            metrics.record(statistics)
        }
    }

    /// All callers wait equally long, so the first in the line is the first whose time is up.
    private func watchDeadlines() async {
        for await _ in someoneWaits {
            while let deadline = state.withLock({ $0.nextDeadline }) {
                guard (try? await Task.sleep(until: deadline)) != nil else { return }
                let actions = state.withLock { $0.expire(now: .now) }
                metrics.timeouts.increment(by: actions.fail.count)
                follow(actions)
            }
        }
    }

    private func follow(_ actions: State.Actions) {
        for connection in actions.close { connection.close() }
        for _ in 0..<actions.connect { workContinuation.yield(Work(delay: actions.delay)) }
        for (waiter, lease) in actions.serve { end(waiter, .success(lease)) }
        for (waiter, error) in actions.fail { end(waiter, .failure(error)) }
    }

    private func end(_ waiter: Waiter, _ result: Swift.Result<State.Lease, PostgresError>) {
        metrics.waited.record(duration: ContinuousClock.now - waiter.since)
        waiter.continuation.resume(returning: result)
    }

    // MARK: Handing out

    /// Waits for a connection that is known to work.
    func acquire() async throws(PostgresError) -> Connection {
        while true {
            let lease = try await lease()
            guard lease.isSuspect else { return lease.member }
            do {
                try await lease.member.ping()
                state.withLock { $0.checked(lease.member) }
                return lease.member
            } catch {
                release(lease.member)
                if error.code == .cancelled { throw error }
            }
        }
    }

    private func lease() async throws(PostgresError) -> State.Lease {
        if Task.isCancelled { throw .taskCancelled }
        let id = lastWaiter.add(1, ordering: .relaxed).newValue
        let asked = ContinuousClock.now
        var actions = State.Actions()
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result = state.withLock {
                    $0.acquire(id, Waiter(continuation: continuation, since: asked), now: asked, &actions)
                }
                follow(actions)
                if let result { return continuation.resume(returning: result) }
                someoneWaitsContinuation.yield()
                if !state.withLock({ $0.isRunning }) { expireWithoutRunning() }
                // The handler may have run before there was anybody to give up.
                if Task.isCancelled { abandon(id) }
            }
        } onCancel: {
            abandon(id)
        }.get()
    }

    /// Until ``run()`` watches the deadlines somebody must. Not a child: the caller waits in a continuation.
    private func expireWithoutRunning() {
        Task { [self] in
            guard let deadline = state.withLock({ $0.nextDeadline }) else { return }
            try await Task.sleep(until: deadline)
            follow(state.withLock { $0.expire(now: .now) })
        }
    }

    private func abandon(_ id: UInt64) {
        if let waiter = state.withLock({ $0.abandon(id, now: .now) }) { end(waiter, .failure(.taskCancelled)) }
    }

    /// Gives a connection back. One that was left in the middle of something is closed.
    func release(_ connection: Connection) {
        let isUsable = connection.isIdle
        if !isUsable, connection.isOpen {
            logger.warning(
                "A connection was given back with a call or a transaction under way, and is closed.",
                metadata: ["pool": "\(name)"]
            )
        }
        follow(state.withLock { $0.release(connection, isUsable: isUsable, now: .now) })
    }
}

extension Connection: Identifiable {}
