import Postgres
import Testing

/// The pool's rules, without a server.
@Suite struct PoolStateTests {
    struct Member: Identifiable, Sendable, Equatable { let id: Int }
    typealias State = PoolState<Member, Int>

    private let start = ContinuousClock.now
    private static let refusal = PostgresError(.connectionFailed, "wrong password", sqlState: "28P01")
    private static let silence = PostgresError(.connectionFailed, "nobody listens")

    private func running(_ configuration: Pool.Configuration) -> (State, State.Actions) {
        var state = State(configuration)
        let actions = state.start()
        return (state, actions)
    }

    /// Asks as caller `id`; the member when it was served at once.
    private func acquire(_ state: inout State, _ id: Int, _ actions: inout State.Actions) throws -> Member? {
        try state.acquire(UInt64(id), id, now: start, &actions)?.get().member
    }

    @Test func theMinimumIsMadeAtTheStartAndTheRestOnDemand() throws {
        var (state, actions) = running(Pool.Configuration(min: 2, max: 3))
        #expect(actions.connect == 2)
        for caller in 0..<5 {
            actions = State.Actions()
            #expect(try acquire(&state, caller, &actions) == nil)
            // Two are on their way for the first two callers, one more may be made.
            #expect(actions.connect == (caller == 2 ? 1 : 0))
        }
        for id in 0..<3 {
            actions = state.connected(Member(id: id), now: start)
            #expect(actions.serve.map(\.0) == [id])
        }
        #expect(state.statistics.waiting == 2 && state.statistics.inUse == 3)
        actions = state.release(Member(id: 1), isUsable: true, now: start)
        #expect(actions.serve.map(\.0) == [3])
    }

    @Test func anUnusableConnectionIsReplaced() throws {
        var (state, actions) = running(Pool.Configuration(min: 0, max: 1))
        #expect(try acquire(&state, 0, &actions) == nil)
        _ = state.connected(Member(id: 0), now: start)
        _ = try acquire(&state, 1, &actions)
        actions = state.release(Member(id: 0), isUsable: false, now: start)
        #expect(actions.close == [Member(id: 0)] && actions.connect == 1)
        #expect(state.connected(Member(id: 1), now: start).serve.map(\.0) == [1])
    }

    @Test func aLossMakesTheOthersSuspectOnce() throws {
        var (state, actions) = running(Pool.Configuration(min: 2, max: 2))
        _ = state.connected(Member(id: 0), now: start)
        _ = state.connected(Member(id: 1), now: start)
        #expect(state.lost(Member(id: 0)).connect == 1)
        let lease = try #require(try state.acquire(1, 1, now: start, &actions)?.get())
        #expect(lease.member == Member(id: 1) && lease.isSuspect)
        state.checked(lease.member)
        _ = state.release(lease.member, isUsable: true, now: start)
        #expect(try state.acquire(2, 2, now: start, &actions)?.get().isSuspect == false)
        // Its end was on the books already.
        #expect(state.release(Member(id: 0), isUsable: false, now: start).close.isEmpty)
    }

    @Test func oneTryIsRepeatedWithGrowingDelaysUntilItSucceeds() throws {
        let backOff = BackOff(first: .milliseconds(100), max: .milliseconds(300), jitter: 0)
        var (state, actions) = running(Pool.Configuration(min: 2, max: 4, backOff: backOff))
        _ = try acquire(&state, 0, &actions)
        #expect(state.connectFailed(Self.silence, now: start).connect == 0)
        let delays = (0..<4).map { _ in
            let actions = state.connectFailed(Self.silence, now: start)
            #expect(actions.connect == 1 && actions.fail.isEmpty)
            return actions.delay
        }
        #expect(delays == [.milliseconds(200), .milliseconds(300), .milliseconds(300), .milliseconds(300)])
        actions = state.connected(Member(id: 0), now: start)
        #expect(actions.serve.map(\.0) == [0] && actions.connect == 1)
    }

    @Test func aRefusalFailsAllWhoWait() throws {
        var (state, actions) = running(Pool.Configuration(min: 0, max: 2))
        for caller in 0..<3 { _ = try acquire(&state, caller, &actions) }
        #expect(state.connectFailed(Self.refusal, now: start).fail.map(\.0) == [0, 1, 2])
    }

    @Test func timeIsUpForThoseWhoCameFirst() throws {
        var (state, actions) = running(Pool.Configuration(min: 0, max: 1, acquireTimeout: .seconds(10)))
        _ = state.acquire(0, 0, now: start, &actions)
        _ = state.acquire(1, 1, now: start + .seconds(5), &actions)
        #expect(state.nextDeadline == start + .seconds(10))
        #expect(state.expire(now: start + .seconds(9)).fail.isEmpty)
        #expect(state.expire(now: start + .seconds(12)).fail.map(\.0) == [0])
        #expect(state.nextDeadline == start + .seconds(15))
        #expect(state.abandon(1, now: start) == 1)
        #expect(state.nextDeadline == nil)
    }

    @Test func whatIsIdleOrOldIsClosedButNotBelowTheMinimum() {
        let configuration = Pool.Configuration(
            min: 1,
            max: 3,
            idleTimeout: .seconds(10),
            lifetime: .seconds(100),
            lifetimeJitter: 0
        )
        var (state, _) = running(configuration)
        for id in 0..<3 { _ = state.connected(Member(id: id), now: start + .seconds(id)) }
        #expect(state.tend(now: start + .seconds(11)).close == [Member(id: 0), Member(id: 1)])
        #expect(state.tend(now: start + .seconds(50)).close.isEmpty)
        let actions = state.tend(now: start + .seconds(102))
        #expect(actions.close == [Member(id: 2)] && actions.connect == 1)
    }

    @Test func aSmallerMaximumIsReachedAsConnectionsComeBack() throws {
        var (state, actions) = running(Pool.Configuration(min: 0, max: 3))
        for caller in 0..<3 { _ = try acquire(&state, caller, &actions) }
        for id in 0..<3 { _ = state.connected(Member(id: id), now: start) }
        #expect(state.resize(min: nil, max: 1, now: start).close.isEmpty)
        #expect(state.release(Member(id: 0), isUsable: true, now: start).close == [Member(id: 0)])
        #expect(state.release(Member(id: 1), isUsable: true, now: start).close == [Member(id: 1)])
        #expect(state.release(Member(id: 2), isUsable: true, now: start).close.isEmpty)
        #expect(state.statistics.idle == 1)
    }

    @Test func closingFailsThoseWhoWaitAndTakesNothingBack() throws {
        var (state, actions) = running(Pool.Configuration(min: 1, max: 1))
        _ = state.connected(Member(id: 0), now: start)
        #expect(try acquire(&state, 0, &actions) == Member(id: 0))
        _ = try acquire(&state, 1, &actions)
        #expect(state.close().fail.map(\.1.code) == [.closed])
        #expect(state.release(Member(id: 0), isUsable: true, now: start).close == [Member(id: 0)])
        #expect(throws: PostgresError.self) { try acquire(&state, 2, &actions) }
    }
}
