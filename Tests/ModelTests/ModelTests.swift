import Foundation
import MillraceTestSupport
import Postgres
import Testing

/// Random sessions against a real server, judged by an oracle that knows docs/state_machine.md and nothing else.
///
/// A failure prints its seed. MILLRACE_MODEL_SEED repeats the choices of a run (not the order in which the server sees
/// them), MILLRACE_MODEL_SECONDS sets its length.
@Suite(.serialized)
struct ModelTests {
    @Test("the log, the tables and the oracle agree", arguments: PostgresCluster.Tier.allCases)
    func agreement(tier: PostgresCluster.Tier) async throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["MILLRACE_MODEL_SEED"].flatMap(UInt64.init) ?? .random(in: 0...999_999)
        let length = Duration.seconds(environment["MILLRACE_MODEL_SECONDS"].flatMap(Int.init) ?? 15)
        // Small partitions, so that work crosses their bounds.
        let settings = [
            "max_prepared_transactions": "20", "millrace.runs_per_partition": "256",
            "millrace.events_per_partition": "20000",
        ]
        try await PostgresCluster.with(tier, settings: settings) { cluster in
            let database = try await cluster.createDatabase(extension: true)
            var workload = Workload(configuration: database, length: length, seed: seed)
            let outcome = await Result { try await workload.run() }
            if case .failure(let error) = outcome { Issue.record("seed \(seed): \(error)") }
            let connection = try await Connection.connect(database)
            var verdict = Verdict(connection: connection, ledger: workload.ledger.snapshot)
            try await verdict.judge()
            let calls = verdict.ledger.calls.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }
            print(
                "seed \(seed), \(tier) tier: \(verdict.ledger.runs.count) runs, \(verdict.ledger.handOuts.count) hand-outs"
            )
            print(calls.joined(separator: "; "))
            for complaint in verdict.complaints.prefix(10) { Issue.record("seed \(seed): \(complaint)") }
            #expect(verdict.complaints.isEmpty, "seed \(seed)")
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(catching body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
