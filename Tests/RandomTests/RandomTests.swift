import Foundation
import MillraceTestSupport
import Postgres
import Testing

/// Random workflows with everything that the language has, executed by several agents that fail, are slow and die; a model
/// that knows what the documents say replays the log of each run.
///
/// MILLRACE_RANDOM_SEED chooses the workflows (not the order in which things happen), MILLRACE_RANDOM_DEFINITIONS says how
/// many there are.
@Suite(.serialized)
struct RandomTests {
    @Test("the log and the model agree", arguments: PostgresCluster.Tier.allCases)
    func agreement(tier: PostgresCluster.Tier) async throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["MILLRACE_RANDOM_SEED"].flatMap(UInt64.init) ?? 1
        let size = environment["MILLRACE_RANDOM_DEFINITIONS"].flatMap(Int.init) ?? 20
        try await PostgresCluster.with(tier, settings: ["log_lock_waits": "on", "deadlock_timeout": "20ms"]) { cluster in
            let database = try await cluster.createDatabase(extension: true)
            var storm = try await Storm(cluster: cluster, database: database, size: size, seed: seed)
            storm.crashes = tier == .dispatcher
            do {
                try await storm.run()
            } catch {
                Issue.record("seed \(seed), \(tier) tier: \(error)")
            }
            let connection = try await Connection.connect(database)
            var verdict = Verdict(connection: connection, storm: storm)
            try await verdict.judge()
            print("seed \(seed), \(tier) tier: \(verdict.runs) runs, \(verdict.events) events; \(storm.summary)")
            for deadlock in try verdict.deadlocks { print("a deadlock, after which the call was repeated:\n\(deadlock)") }
            for complaint in verdict.complaints.prefix(5) { Issue.record("seed \(seed), \(tier) tier: \(complaint)") }
            #expect(verdict.complaints.isEmpty, "seed \(seed), \(tier) tier")
        }
    }
}
