import Glibc
import MillraceTestSupport
import Postgres
import Testing

@Suite struct AnswerExecutorTests {
    /// The thread that a task is on at this moment.
    private static var thread: UInt { UInt(pthread_self()) }

    @Test func aTaskGoesOnWithEachAnswerOnOneThread() async throws {
        try await Shared.withConnection { connection in
            let threads = try await Task(executorPreference: Connection.answerExecutor) {
                var threads: Set<UInt> = []
                for number in 1...20 {
                    let answer = try await connection.query("select \(number)")
                    #expect(try answer[0].int(0) == number)
                    threads.insert(Self.thread)
                }
                return threads
            }.value
            #expect(threads.count == 1)
        }
    }

    /// Jobs come from other threads and from the thread itself, while answers come in.
    @Test func tasksOfManyThreadsAllRun() async throws {
        try await Shared.withConnection { connection in
            let sum = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<300 {
                    group.addTask(executorPreference: Connection.answerExecutor) {
                        await Task.yield()
                        if number % 3 == 0 { try await Task.sleep(for: .milliseconds(1)) }
                        return try await connection.query("select \(number)")[0].int(0)
                    }
                    group.addTask { try await connection.query("select \(number)")[0].int(0) }
                }
                return try await group.reduce(0, +)
            }
            #expect(sum == 2 * (0..<300).reduce(0, +))
        }
    }
}
