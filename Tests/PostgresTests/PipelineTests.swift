import MillraceTestSupport
import Postgres
import Testing

@Suite struct PipelineTests {
    @Test func anErrorInTheMiddleLeavesTheOthersAlone() async throws {
        try await Shared.withConnection { connection in
            try await connection.execute(script: "create temp table kept (a int primary key)")
            let insert = "insert into kept values ($1)"
            let answers = await connection.pipeline([
                [Statement(insert, [.int32(1)])],
                [Statement(insert, [.int32(2)]), Statement("select 1 / 0"), Statement(insert, [.int32(3)])],
                [Statement("this is no statement")],
                [Statement(insert, [.int32(4)]), Statement("select count(*) from kept")],
            ])
            #expect(throws: Never.self) { try answers[0].get() }
            #expect(throws: PostgresError.self) { try answers[1].get() }
            #expect(throws: PostgresError.self) { try answers[2].get() }
            #expect(try answers[3].get()[1][0].int(0) == 2)
            if case .failure(let error) = answers[1] { #expect(error.sqlState == "22012") }
            let rows = try await connection.query("select a from kept order by a").map { try $0.int(0) }
            #expect(rows == [1, 4])
        }
    }

    @Test func manyTasksShareAConnectionAndGetTheirOwnAnswers() async throws {
        try await Shared.withConnection { connection in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<500 {
                    group.addTask {
                        if number % 7 == 0 {
                            let error = await postgresError {
                                _ = try await connection.query("select 1 / 0 from (select \(number)) s")
                            }
                            #expect(error?.sqlState == "22012")
                        } else if number % 11 == 0 {
                            let answers = try await connection.execute(script: "select 1; select \(number)")
                            #expect(try answers[1][0].int(0) == number)
                        } else {
                            #expect(
                                try await connection.query("select $1::int8", [.int64(Int64(number))])[0].int(0)
                                    == number
                            )
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func aFailedPrepareDoesNotSpoilTheNextUse() async throws {
        try await Shared.withConnection { connection in
            let answers = await connection.pipeline([
                [Statement("select 1 / 0"), Statement("select 5")],
                [Statement("select 5")],
                [Statement("select 5")],
            ])
            #expect(throws: PostgresError.self) { try answers[0].get() }
            #expect(try answers[1].get()[0][0].int(0) == 5)
            #expect(try answers[2].get()[0][0].int(0) == 5)
            let next = try await connection.query("select 5")
            #expect(try next[0].int(0) == 5)
        }
    }

    @Test func aScriptAnswersEachStatementAndStopsAtAnError() async throws {
        try await Shared.withConnection { connection in
            let answers = try await connection.execute(
                script: "create temp table t (a int); insert into t values (1), (2); select * from t"
            )
            #expect(answers.map(\.commandTag) == ["CREATE TABLE", "INSERT 0 2", "SELECT 2"])
            #expect(try answers[2][1].int(0) == 2)
            let error = await postgresError {
                try await connection.execute(script: "insert into t values (3); select 1 / 0")
            }
            #expect(error?.sqlState == "22012")
            #expect(try await connection.query("select count(*) from t")[0].int(0) == 2)
            #expect(try await connection.execute(script: "").first?.count == 0)
        }
    }

    @Test func copyIsRefused() async throws {
        try await Shared.withConnection { connection in
            let error = await postgresError { try await connection.execute(script: "copy (select 1) to stdout") }
            #expect(error?.code == .invalidParameter)
        }
    }

    @Test func aTransactionCommitsOrRollsBack() async throws {
        struct Stop: Error {}
        try await Shared.withConnection { connection in
            try await connection.execute(script: "create temp table t (a int)")
            try await connection.transaction { _ = try await $0.query("insert into t values (1)") }
            await #expect(throws: Stop.self) {
                try await connection.transaction {
                    _ = try await $0.query("insert into t values (2)")
                    throw Stop()
                }
            }
            let error = await postgresError {
                try await connection.transaction { transaction in
                    _ = await postgresError { _ = try await transaction.query("select 1 / 0") }
                }
            }
            #expect(error?.sqlState == "25P02")
            #expect(try await connection.query("select count(*) from t")[0].int(0) == 1)
        }
    }
}
