import MillraceTestSupport
import Postgres
import ServiceLifecycle
import Testing

/// What happens when the server, or a process of it, goes away. Each test has a server of its own.
@Suite struct LossTests {
    @Test func aBackendKilledInTheMiddleOfAQuery() async throws {
        try await PostgresCluster.with { cluster in
            let connection = try await Connection.connect(cluster.configuration())
            let behind = Task { await postgresError { _ = try await connection.query("select 2") } }
            let task = Task { await postgresError { _ = try await connection.query("select pg_sleep(600)") } }
            try await eventually("the query runs") {
                let sql =
                    "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(600)%' and pid <> pg_backend_pid()"
                return try await cluster.psql(sql) == "1\n"
            }
            _ = await behind.value
            try cluster.killBackend(connection.backendPID)
            let error = try #require(await task.value)
            #expect(error.isConnectionLoss && error.isRetriable)
            #expect(!connection.isOpen)
            let next = await postgresError { _ = try await connection.query("select 1") }
            #expect(next?.isConnectionLoss == true)
        }
    }

    @Test func aBackendThatIsToldToEndSaysSo() async throws {
        try await PostgresCluster.with { cluster in
            let connection = try await Connection.connect(cluster.configuration())
            let ended = Task { for await _ in connection.notifications {} }
            try await cluster.psql("select pg_terminate_backend(\(connection.backendPID))")
            await ended.value
            try await eventually("the end is noticed") { !connection.isOpen }
            let error = try #require(await postgresError { try await connection.ping() })
            #expect(error.isConnectionLoss)
            #expect(error.description.contains("terminating connection"))
        }
    }

    /// The number of a broken connection's socket goes to one that is made at that moment, which must not pay for it.
    @Test func connectionsThatAreMadeWhileOthersBreakWork() async throws {
        try await PostgresCluster.with { cluster in
            let configuration = cluster.configuration()
            @Sendable func connect() async throws -> [Connection] {
                try await withThrowingTaskGroup(of: Connection.self) { group in
                    for _ in 0..<8 { group.addTask { try await Connection.connect(configuration) } }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
            }
            let killer = try await Connection.connect(configuration)
            var connections = try await connect()
            for _ in 0..<40 {
                let pids = connections.map { "\($0.backendPID)" }.joined(separator: ",")
                async let killed = killer.query("select pg_terminate_backend(pid) from unnest('{\(pids)}'::int[]) pid")
                let fresh = try await connect()
                _ = try await killed
                for connection in fresh { #expect(try await connection.query("select 1")[0].int(0) == 1) }
                connections = fresh
            }
        }
    }

    @Test(arguments: [PostgresCluster.StopMode.fast, .immediate])
    func aPoolOutlivesARestartOfTheServer(mode: PostgresCluster.StopMode) async throws {
        try await PostgresCluster.with { cluster in
            let configuration = Pool.Configuration(
                acquireTimeout: .seconds(60),
                backOff: BackOff(first: .milliseconds(10), max: .milliseconds(200))
            )
            try await Pool.with(cluster.configuration(), configuration: configuration) { pool in
                _ = try await pool.query("select 1")
                try await cluster.stop(mode)
                try await eventually("the loss is noticed") { pool.statistics.idle == 0 }
                // Asked while there is no server, served when there is one again.
                let waiting = Task { try await pool.query("select 7")[0].int(0) }
                try await eventually("a caller waits") { pool.statistics.waiting == 1 }
                try await cluster.start()
                #expect(try await waiting.value == 7)
                #expect(pool.statistics.losses > 0)
                try await eventually("the minimum is open again") { pool.statistics.idle == pool.statistics.min }
            }
        }
    }

    @Test func aListenerOutlivesARestartOfTheServer() async throws {
        try await PostgresCluster.with { cluster in
            let backOff = BackOff(first: .milliseconds(10), max: .milliseconds(200))
            let listener = Listener(cluster.configuration(), channels: ["one"], backOff: backOff)
            let running = Task { try await listener.run() }
            var events = listener.events.makeAsyncIterator()
            #expect(await events.next() == .listening(["one"]))
            try await cluster.restart(.immediate)
            #expect(await events.next() == .listening(["one"]))
            try await cluster.psql("notify one, 'again'")
            guard case .notification(let notification) = await events.next() else {
                Issue.record("no notification")
                return
            }
            #expect(notification.channel == "one" && notification.payload == "again")
            running.cancel()
            #expect(await events.next() == nil)
        }
    }
}
