import Logging
import Postgres
import ServiceLifecycle

extension EventReader {
    /// Reads, listens and stores: what stands above the pool and the listener, and ends before them.
    struct Loop: Service {
        let reader: EventReader
        let client: Client
        let listener: Listener

        private var configuration: Configuration { reader.configuration }
        private var isStopping: Bool { reader.state.withLock { $0.isStopping } }

        func run() async throws {
            try await withGracefulShutdownHandler {
                try await readAndStore()
            } onGracefulShutdown: {
                reader.stop()
            }
        }

        private func readAndStore() async throws {
            let result: Result<Void, any Error>
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { await listen() }
                    group.addTask { try await keepStoring() }
                    group.addTask { try await read() }
                    defer { group.cancelAll() }
                    try await group.next()
                }
                result = .success(())
            } catch {
                result = .failure(error)
            }
            reader.stop()
            await reader.settle()
            await storeLast()
            try result.get()
        }

        // MARK: Reading

        private func listen() async {
            for await event in listener.events {
                if case .notification = event { hear(true) } else { hear(false) }
                reader.news.ring()
            }
            // The listener ends only with the service; the others say when that is.
            while !Task.isCancelled, !isStopping { try? await Task.sleep(for: .seconds(3600)) }
        }

        private func hear(_ isNotified: Bool) { reader.state.withLock { $0.isNotified = isNotified } }

        private func read() async throws {
            var failures = 0
            var looks = Looks(configuration)
            while !isStopping, !Task.isCancelled {
                guard takeRoom() else {
                    await reader.news.wait()
                    continue
                }
                let begin = ContinuousClock.now
                do throws(MillraceError) {
                    let count = try await read(at: begin)
                    if failures > 0 { reader.logger.info("Events can be read again.", metadata: metadata()) }
                    failures = 0
                    // Fewer than there was room for: nothing is left that was committed when the call began.
                    if count < configuration.readSize {
                        await reader.news.wait(for: nextLook(&looks, count))
                        await looks.rest(since: begin)
                    }
                } catch {
                    if Task.isCancelled || isStopping { return }
                    failures += 1
                    if try await judge(error, failures: failures) {
                        await reader.news.wait(for: configuration.reconnect.delay(attempt: failures))
                    }
                }
            }
        }

        /// Whether there is room to read; if not, the reader is rung up when there is.
        private func takeRoom() -> Bool {
            reader.state.withLock { state in
                state.waitsForRoom = !reader.hasRoom(state.buffer)
                return !state.waitsForRoom
            }
        }

        /// - Returns: How many events were read.
        private func read(at begin: ContinuousClock.Instant) async throws(MillraceError) -> Int {
            let position = reader.state.withLock { $0.buffer.readPosition }
            let events = try await client.readEvents(reader.subscription, max: configuration.readSize, after: position)
            reader.add(events, lookedAt: begin)
            return events.count
        }

        private func nextLook(_ looks: inout Looks, _ count: Int) -> Duration {
            looks.next(afterReading: count, isNotified: reader.state.withLock { $0.isNotified })
        }

        /// - Returns: Whether to wait before trying again.
        /// - Throws: The error, where trying again is of no use.
        private func judge(_ error: MillraceError, failures: Int) async throws(MillraceError) -> Bool {
            switch error.code {
            case .positionOfEarlierServer:
                reader.state.withLock { $0.buffer.readAgain() }
                return false
            case .overtaken:
                reader.metrics.overtaken()
                reader.logger.error("Events were dropped unread.", metadata: metadata(["error": "\(error)"]))
                return try await acknowledge()
            case _ where error.isRetriable || error.isConnectionLoss || error.code == .unreachable:
                reader.metrics.failed()
                reader.logger.log(
                    level: failures == 1 ? .warning : .debug,
                    "Events cannot be read; trying again.",
                    metadata: metadata(["error": "\(error)"])
                )
                return true
            default: throw error
            }
        }

        /// Reading goes on behind the gap.
        private func acknowledge() async throws(MillraceError) -> Bool {
            do {
                try await client.subscribe(reader.subscription)
                reader.state.withLock { $0.buffer.readAgain() }
                return false
            } catch {
                guard error.isRetriable || error.isConnectionLoss else { throw error }
                return true
            }
        }

        // MARK: Storing

        private func keepStoring() async throws {
            while true {
                try await Task.sleep(for: configuration.storeInterval)
                do {
                    try await store()
                } catch let error as MillraceError where error.code == .positionOfEarlierServer {
                    reader.state.withLock { $0.buffer.readAgain() }
                    reader.news.ring()
                } catch let error as MillraceError
                where error.isRetriable || error.isConnectionLoss || [.unreachable, .overtaken].contains(error.code) {
                    // The next round stores a later one.
                    reader.logger.debug("The position could not be stored.", metadata: metadata(["error": "\(error)"]))
                }
            }
        }

        private func store() async throws {
            guard let position = reader.state.withLock({ $0.buffer.positionToStore }) else { return }
            try await reader.beforeStoring()
            try await client.commitPosition(reader.subscription, position)
            reader.state.withLock { $0.buffer.stored(position) }
        }

        private func storeLast() async {
            do {
                try await store()
            } catch {
                reader.logger.warning(
                    "The last position could not be stored: what came after the one before it will come again.",
                    metadata: metadata(["error": "\(error)"])
                )
            }
        }

        private func metadata(_ more: Logger.Metadata = [:]) -> Logger.Metadata {
            more.merging(["subscription": "\(reader.subscription)"]) { $1 }
        }
    }
}

/// How long to wait for news.
///
/// Where notifications come, a slow look is for those that got lost. Where none has come yet (the plain tier sends none)
/// looking is how news come: often while something comes, and seldom when nothing does.
private struct Looks {
    private static let shortest = Duration.milliseconds(5)
    private let slowest: Duration
    private let slow: Duration
    private let distance: Duration
    private var last = shortest

    init(_ configuration: EventReader.Configuration) {
        distance = min(configuration.flushDelay, .milliseconds(2))
        slowest = configuration.lookInterval
        slow = min(slowest, .milliseconds(250))
    }

    mutating func next(afterReading count: Int, isNotified: Bool) -> Duration {
        last = count > 0 ? min(Self.shortest, slow) : min(last * 2, slow)
        return (isNotified ? slowest : last) * Double.random(in: 0.8...1.2)
    }

    /// Each look costs the server the same, however little it finds: under a steady flow they keep a distance, as batches
    /// do. After a silence there is nothing to wait for.
    func rest(since lastLook: ContinuousClock.Instant) async {
        let due = lastLook + distance
        if due > .now { try? await Task.sleep(until: due, tolerance: .zero) }
    }
}
