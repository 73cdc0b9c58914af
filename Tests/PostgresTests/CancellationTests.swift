import MillraceTestSupport
import Postgres
import Testing

@Suite struct CancellationTests {
    /// Waits until the server runs the statement on that connection.
    private func untilRunning(_ connection: Connection, _ text: String) async throws {
        try await Shared.withConnection { watcher in
            try await eventually("\(text) runs") {
                let sql = "select count(*) from pg_stat_activity where pid = $1 and state = 'active' and query like $2"
                return try await watcher.query(sql, [.int32(connection.backendPID), .text("%\(text)%")])[0].int(0) == 1
            }
        }
    }

    @Test func aCancelledTaskCancelsItsQueryOnTheServer() async throws {
        try await Shared.withConnection { connection in
            let task = Task { await postgresError { _ = try await connection.query("select pg_sleep(600)") } }
            try await untilRunning(connection, "pg_sleep(600)")
            task.cancel()
            #expect(await task.value?.code == .cancelled)
            // The request to cancel is spent: it hits nothing that comes later.
            for _ in 0..<20 { #expect(try await connection.query("select 1")[0].int(0) == 1) }
        }
    }

    @Test func aCancelledCallLeavesThoseBehindItAlone() async throws {
        try await Shared.withConnection { connection in
            let first = Task { await postgresError { _ = try await connection.query("select pg_sleep(601)") } }
            try await untilRunning(connection, "pg_sleep(601)")
            let second = Task { await postgresError { _ = try await connection.query("select pg_sleep(602)") } }
            let third = Task { try await connection.query("select 3")[0].int(0) }
            // Not its turn yet: the first goes on.
            second.cancel()
            first.cancel()
            #expect(await first.value?.code == .cancelled)
            #expect(await second.value?.code == .cancelled)
            do {
                #expect(try await third.value == 3)
            } catch let error as PostgresError {
                // A request names no call; one that hits a neighbour says so.
                #expect(error.code == .interrupted && error.isRetriable)
            }
            #expect(try await connection.query("select 4")[0].int(0) == 4)
        }
    }

    @Test func aTaskThatIsCancelledAlreadySendsNothing() async throws {
        try await Shared.withConnection { connection in
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return await postgresError { _ = try await connection.query("select 1 / 0") }
            }
            #expect(await task.value?.code == .cancelled)
        }
    }

    @Test func aCancelledTransactionIsRolledBack() async throws {
        try await Shared.withConnection { connection in
            try await connection.execute(script: "create temp table t (a int)")
            let task = Task {
                await postgresError {
                    try await connection.transaction {
                        _ = try await $0.query("insert into t values (1)")
                        _ = try await $0.query("select pg_sleep(603)")
                    }
                }
            }
            try await untilRunning(connection, "pg_sleep(603)")
            task.cancel()
            #expect(await task.value?.code == .cancelled)
            #expect(try await connection.query("select count(*) from t")[0].int(0) == 0)
            #expect(try await connection.query("select pg_current_xact_id_if_assigned() is null")[0].bool(0))
        }
    }

    /// Cancels at every point of a call's life.
    @Test func cancellingAtAnyMomentEndsTheCallAndNoOther() async throws {
        try await Shared.withConnection { connection in
            for round in 0..<100 {
                let task = Task {
                    try await connection.query("select count(*) from generate_series(1, \(round * 400))")
                }
                for _ in 0..<(round % 10) { await Task.yield() }
                task.cancel()
                switch await task.result {
                case .success(let result): #expect(result.count == 1)
                case .failure(let error): #expect((error as? PostgresError)?.code == .cancelled)
                }
                let next = try await connection.query("select $1::int4", [.int32(Int32(round))])
                #expect(try next[0].int(0) == round)
            }
        }
    }
}
