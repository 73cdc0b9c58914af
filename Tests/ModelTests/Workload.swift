import MillraceTestSupport
import Postgres

/// Four sessions that work, one that steers and one that submits, all at random and at once; then everything is worked
/// off, so that what is left can be judged.
struct Workload {
    let configuration: PostgresConfiguration
    let length: Duration
    let ledger = Ledger()
    var random: SeededRandom

    init(configuration: PostgresConfiguration, length: Duration, seed: UInt64) {
        self.configuration = configuration
        self.length = length
        random = SeededRandom(seed: seed)
    }

    mutating func run() async throws {
        var workers: [WorkerSession] = []
        for number in 1...4 {
            workers.append(WorkerSession(try await session("worker \(number)"), servesAll: number <= 2))
        }
        let steering = OperatorSession(try await session("operator"))
        let submitting = SubmitterSession(try await session("submitter"))
        let end = WorkEnd(time: ContinuousClock.now + length, ledger: ledger)
        try await withThrowingTaskGroup { group in
            for worker in workers {
                group.addTask {
                    var worker = worker
                    try await worker.run(until: end)
                }
            }
            group.addTask {
                var steering = steering
                try await steering.run(until: end)
            }
            group.addTask {
                var submitting = submitting
                try await submitting.run(until: end)
            }
            try await group.waitForAll()
        }
        var drain = DrainSession(try await session("drain"))
        try await drain.run()
    }

    private mutating func session(_ name: String) async throws -> Session {
        try await Session(name: name, configuration: configuration, ledger: ledger, random: random.fork())
    }
}

/// The sessions work for a time, and for as long as it takes to have something to judge.
struct WorkEnd {
    let time: ContinuousClock.Instant
    let ledger: Ledger

    var isReached: Bool { ContinuousClock.now >= time && ledger.snapshot.runs.count >= 20 }
}
