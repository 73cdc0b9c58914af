import Foundation
import MillraceTestSupport
import Postgres
import Testing

/// Agents, connections and servers are killed at random while agents work: nothing is lost, nothing is done twice.
///
/// `scripts/chaos.sh` sets the size: MILLRACE_CHAOS_STEPS, MILLRACE_CHAOS_KILLS, MILLRACE_CHAOS_LEASE (seconds), and with
/// MILLRACE_CHAOS_STRICT=1 how long recovery may take.
@Suite(.serialized)
struct ChaosTests {
    @Test("what is killed costs no step and repeats none", arguments: PostgresCluster.Tier.allCases)
    func survival(tier: PostgresCluster.Tier) async throws {
        let environment = ProcessInfo.processInfo.environment
        func number(_ name: String, _ fallback: Int) -> Int {
            environment["MILLRACE_CHAOS_\(name)"].flatMap(Int.init) ?? fallback
        }
        let kills = number("KILLS", 5)
        let lease = number("LEASE", 2)
        try await PostgresCluster.with(tier, settings: ["deadlock_timeout": "200ms"]) { cluster in
            _ = try await cluster.createDatabase("chaos", extension: true)
            let work = ChaosWork(configuration: cluster.configuration(database: "chaos"), steps: number("STEPS", 2000))
            try await work.submit()
            var chaos = Chaos(cluster: cluster, work: work, lease: lease)
            do {
                try await chaos.run(kills: kills)
            } catch {
                Issue.record("\(error)\n\(try await work.situation())\n\(chaos.agentLogs)")
                return
            }

            let complaints = try await work.complaints()
            for complaint in complaints { Issue.record("\(complaint)\n\(chaos.agentLogs)") }
            let timing = try await ChaosTiming(chaos)
            print("\(tier) tier, \(work.steps) steps, \(kills) kills: \(timing)")
            if environment["MILLRACE_CHAOS_STRICT"] == "1" {
                for late in timing.late(lease: lease) { Issue.record("\(late)") }
            }
        }
    }
}
