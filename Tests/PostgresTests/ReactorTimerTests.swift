import Glibc
import Postgres
import Synchronization
import Testing

@Suite struct ReactorTimerTests {
    private typealias Instant = ContinuousClock.Instant

    /// What a timer has said, in order: the moments, and the threads.
    private final class Bell: Sendable {
        let rings: AsyncStream<(at: Instant, thread: UInt)>
        let ring: @Sendable () -> Void

        init() {
            let (rings, continuation) = AsyncStream.makeStream(of: (at: Instant, thread: UInt).self)
            self.rings = rings
            ring = { continuation.yield((.now, UInt(pthread_self()))) }
        }

        func next() async -> (at: Instant, thread: UInt)? {
            var iterator = rings.makeAsyncIterator()
            return await iterator.next()
        }
    }

    @Test func goesOffAtItsMomentAndNotBefore() async throws {
        let bell = Bell()
        let timer = ReactorTimer(bell.ring)
        for delay in [Duration.zero, .milliseconds(-5), .microseconds(300), .milliseconds(7)] {
            let moment = Instant.now + delay
            timer.set(for: moment)
            let ring = try #require(await bell.next())
            #expect(ring.at >= moment)
        }
    }

    /// Set from this thread and from its own, the last setting counts.
    @Test func theLastSettingCounts() async throws {
        let bell = Bell()
        let timer = ReactorTimer(bell.ring)
        timer.set(for: .now + .seconds(3600))
        timer.set(for: nil)
        let moment = Instant.now + .milliseconds(3)
        timer.set(for: moment)
        let ring = try #require(await bell.next())
        #expect(ring.at >= moment)

        let again = try await Task(executorPreference: Connection.answerExecutor) {
            let moment = Instant.now + .milliseconds(3)
            timer.set(for: .now + .seconds(3600))
            timer.set(for: moment)
            return try (moment, #require(await bell.next()))
        }.value
        #expect(again.1.at >= again.0)
        #expect(again.1.thread == ring.thread)
    }

    /// What is set no later than a moment keeps an earlier one, and then counts anew.
    @Test func theEarlierOfTwoMomentsCounts() async throws {
        let bell = Bell()
        let timer = ReactorTimer(bell.ring)
        for moments in [[5, 3_600_000], [3_600_000, 5]] {
            let now = Instant.now
            for milliseconds in moments { timer.setNoLater(than: now + .milliseconds(milliseconds)) }
            let ring = try #require(await bell.next())
            #expect(ring.at >= now + .milliseconds(5))
        }
    }

    /// Many of them, each at its own moment; those that are gone say nothing.
    @Test func eachGoesOffOnce() async throws {
        let order = Mutex<[Int]>([])
        let bell = Bell()
        let begin = Instant.now + .milliseconds(20)
        let timers = (0..<20).map { number in
            ReactorTimer {
                order.withLock { $0.append(number) }
                bell.ring()
            }
        }
        for (number, timer) in timers.enumerated().reversed() { timer.set(for: begin + .milliseconds(2 * number)) }
        do {
            let gone = ReactorTimer { order.withLock { $0.append(-1) } }
            gone.set(for: begin)
        }
        for _ in timers { _ = await bell.next() }
        let rung = order.withLock { $0 }
        #expect(rung.sorted() == Array(0..<20))
    }
}
