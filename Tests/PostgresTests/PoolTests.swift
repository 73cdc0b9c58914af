import MillraceTestSupport
import Postgres
import Synchronization
import Testing

@Suite struct PoolTests {
    @Test func theMaximumHoldsAndIsUsed() async throws {
        let configuration = Pool.Configuration(min: 1, max: 3)
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            let users = Users()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<60 {
                    group.addTask {
                        try await pool.withConnection { connection in
                            users.enter(connection.backendPID)
                            // the first ones stay until there are as many as there may be
                            try await eventually("the maximum is open") { pool.statistics.connects == 3 }
                            _ = try await connection.query("select pg_sleep(0.01)")
                            users.leave()
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(users.most == 3)
            #expect(Set(users.order).count == 3)
            let statistics = pool.statistics
            #expect(statistics.acquires == 60 && statistics.inUse == 0 && statistics.waiting == 0)
            #expect(statistics.waits > 0 && statistics.waited > .zero)
        }
    }

    @Test func theMinimumIsKeptAndWhatIsIdleTooLongIsClosed() async throws {
        let configuration = Pool.Configuration(min: 2, max: 5, idleTimeout: .milliseconds(100))
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            try await eventually("the minimum is open") { pool.statistics.idle == 2 }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<5 {
                    group.addTask {
                        try await pool.withConnection { _ in
                            try await eventually("each has one of its own") { pool.statistics.connects == 5 }
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("the surplus is closed") { pool.statistics.idle == 2 }
        }
    }

    @Test func theOldAreReplaced() async throws {
        let configuration = Pool.Configuration(min: 1, max: 1, lifetime: .milliseconds(100))
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            let first = try await pool.withConnection { $0.backendPID }
            try await eventually("another connection") { try await pool.withConnection { $0.backendPID } != first }
        }
    }

    @Test func aCallerWaitsNoLongerThanTheTimeout() async throws {
        let configuration = Pool.Configuration(name: "small", min: 1, max: 1, acquireTimeout: .milliseconds(200))
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            try await eventually("the connection is open") { pool.statistics.idle == 1 }
            try await pool.withConnection { _ in
                let error = try #require(await postgresError { _ = try await pool.query("select 1") })
                #expect(error.code == .timeout)
                #expect(error.message.contains("small"))
                #expect(error.detail?.contains("Of 1 connections 1 are in use") == true)
            }
            #expect(try await pool.query("select 1")[0].int(0) == 1)
            #expect(pool.statistics.timeouts == 1)
        }
    }

    @Test func aCancelledCallerLeavesTheLine() async throws {
        let configuration = Pool.Configuration(min: 1, max: 1)
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            let (first, second) = try await pool.withConnection { _ in
                let first = Task { await postgresError { _ = try await pool.query("select 1") } }
                try await eventually("one waits") { pool.statistics.waiting == 1 }
                let second = Task { try await pool.query("select 2")[0].int(0) }
                try await eventually("two wait") { pool.statistics.waiting == 2 }
                first.cancel()
                return (await first.value, second)
            }
            #expect(first?.code == .cancelled)
            #expect(try await second.value == 2)
            #expect(pool.statistics.inUse == 0 && pool.statistics.idle == 1)
        }
    }

    @Test func whoComesFirstIsServedFirst() async throws {
        let configuration = Pool.Configuration(min: 1, max: 1)
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            let users = Users()
            try await withThrowingTaskGroup(of: Void.self) { group in
                try await pool.withConnection { _ in
                    for number in 0..<20 {
                        group.addTask {
                            try await pool.withConnection { _ in users.enter(Int32(number)) }
                        }
                        try await eventually("\(number) waits") { pool.statistics.waiting == number + 1 }
                    }
                }
                try await group.waitForAll()
            }
            #expect(users.order == Array(0..<20))
        }
    }

    @Test func aConnectionLeftInATransactionIsNotHandedOn() async throws {
        let configuration = Pool.Configuration(min: 1, max: 1)
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            let first = try await pool.withConnection { connection in
                _ = try await connection.query(Statement("begin", prepared: false))
                return connection.backendPID
            }
            #expect(try await pool.withConnection { $0.backendPID } != first)
        }
    }

    @Test func aRefusalIsToldAtOnce() async throws {
        let database = try await Shared.cluster().configuration(password: "wrong", overTCP: true)
        try await Pool.with(database) { pool in
            let error = try #require(await postgresError { _ = try await pool.query("select 1") })
            #expect(error.sqlState == "28P01")
        }
    }

    @Test func aPoolThatFailsFastSaysThatNobodyListens() async throws {
        let database = PostgresConfiguration(host: "127.0.0.1", port: 1)
        try await Pool.with(database, configuration: Pool.Configuration(failsFast: true)) { pool in
            let error = try #require(await postgresError { _ = try await pool.query("select 1") })
            #expect(error.code == .connectionFailed)
        }
    }

    @Test func theBoundsCanBeChanged() async throws {
        let configuration = Pool.Configuration(min: 0, max: 1, acquireTimeout: .seconds(60))
        try await Pool.with(Shared.cluster().configuration(), configuration: configuration) { pool in
            try await pool.withConnection { _ in
                let waiting = Task { try await pool.query("select 1")[0].int(0) }
                try await eventually("one waits") { pool.statistics.waiting == 1 }
                pool.resize(max: 2)
                #expect(try await waiting.value == 1)
            }
            pool.resize(max: 1)
            try await eventually("one is left") { pool.statistics.idle == 1 }
        }
    }

    @Test func aClosedPoolRefuses() async throws {
        let database = try await Shared.cluster().configuration()
        let pool = try await Pool.with(database) { $0 }
        #expect(await postgresError { _ = try await pool.query("select 1") }?.code == .closed)
    }

    @Test func aPoolThatDoesNotRunSaysSo() async throws {
        let database = try await Shared.cluster().configuration()
        let pool = Pool(database, configuration: Pool.Configuration(acquireTimeout: .milliseconds(50)))
        let error = await postgresError { _ = try await pool.query("select 1") }
        #expect(error?.hint?.contains("run()") == true)
    }
}

/// Who used something, in order, and how many at a time.
private final class Users: Sendable {
    private let state = Mutex((now: 0, most: 0, order: [Int32]()))

    func enter(_ user: Int32) {
        state.withLock { state in
            state.now += 1
            state.most = max(state.most, state.now)
            state.order.append(user)
        }
    }

    func leave() { state.withLock { $0.now -= 1 } }

    var most: Int { state.withLock { $0.most } }
    var order: [Int32] { state.withLock { $0.order } }
}
