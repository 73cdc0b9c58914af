import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Synchronization
import Testing

/// The agent (which is the publisher), the endpoint and the server are killed by SIGKILL in turn, each several times, while
/// runs are submitted: no event is lost, and once repeats are left out each run's events come in order.
@Suite(.serialized) struct KillTests {
    private static let rounds = 9
    private static let runsPerRound = 30
    private static let keys = (1...4).map { "s\($0)" }

    @Test(arguments: PostgresCluster.Tier.allCases) func killedInTurn(tier: PostgresCluster.Tier) async throws {
        try await PostgresCluster.with(tier) { cluster in
            let fixture = try await EventFixture(in: cluster)
            try await fixture.psql("SELECT FROM millrace.define_workflow('\(Self.chain)')")
            let endpoint = try EndpointProcess()
            defer { endpoint.remove() }
            func startAgent() throws -> Program {
                try Program(
                    "millrace",
                    ["agent", "--publish", "s", "--publish-to", endpoint.url, "--log-level", "error"],
                    [
                        "MILLRACE_AGENT_LEASE": "2s", "MILLRACE_PUBLISH_BATCH_SIZE": "50",
                        "MILLRACE_DATABASE_URL": cluster.url(database: fixture.database.database ?? ""),
                    ]
                )
            }
            var agent = try startAgent()
            var acknowledged: [Int64] = []
            let pool = Pool(fixture.database, logger: EventFixture.quiet)
            try await fixture.with(pool) {
                for round in 0..<Self.rounds {
                    let before = try endpoint.received().count
                    async let submitted = Self.submit(Self.runsPerRound, by: Client(pool: pool))
                    try await eventually("events arrive: \(agent.errors)", within: .seconds(60)) { try endpoint.received().count > before + 50 }
                    switch round % 3 {
                    case 0:
                        try await agent.die()
                        agent = try startAgent()
                    case 1:
                        try await endpoint.restart()
                    default:
                        try await cluster.crash()
                        try await cluster.start()
                    }
                    acknowledged += try await submitted
                }
            }
            #expect(acknowledged.count == Self.rounds * Self.runsPerRound)
            try await eventually("all runs complete: \(agent.errors)", within: .seconds(60)) {
                try await fixture.psql("SELECT count(*) FROM millrace.runs WHERE finished_at IS NULL") == "0"
            }
            let written = Set(try await fixture.ids())
            try await eventually("all events arrive: \(agent.errors)", within: .seconds(60)) {
                Set(try endpoint.received().map(\.id)).isSuperset(of: written)
            }
            agent.send(SIGTERM)
            #expect(try await agent.end() == 0, "\(agent.errors)")

            var seen: Set<Int64> = []
            let delivered = try endpoint.received().filter { seen.insert($0.id).inserted }
            #expect(seen == written)
            let runs = Dictionary(grouping: delivered, by: \.run)
            #expect(Set(acknowledged).isSubset(of: runs.keys))
            for (run, events) in runs { Self.check(run, events) }
        }
    }

    /// What is known of a run, whoever was killed meanwhile and however often a step was started.
    private static func check(_ run: Int64, _ events: [Receiver.Received]) {
        let kinds = events.map { $0.type.replacing("millrace.", with: "") }
        #expect(kinds.first == "run_submitted" && kinds.last == "run_completed", "run \(run): \(kinds)")
        let completed = zip(kinds, events).filter { $0.0 == "step_completed" }
        #expect(completed.map(\.1.key) == keys, "run \(run)")
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.id < $1.id }, "run \(run): \(events.map(\.id))")
        for (key, steps) in Dictionary(grouping: zip(kinds, events), by: \.1.key) where key != nil {
            #expect(steps.first?.0 == "step_started" && steps.last?.0 == "step_completed", "run \(run), step \(key ?? "")")
        }
    }

    private static var chain: String {
        let steps = keys.enumerated().map { index, key in
            let needs = index == 0 ? "" : "\"\(keys[index - 1])\""
            return #"{"key": "\#(key)", "handler": "noop", "needs": [\#(needs)], "retry": {"limit": 50, "backoff": 0}}"#
        }
        return #"{"workflow": "chain", "steps": [\#(steps.joined(separator: ","))]}"#
    }

    /// Answers the runs that were acknowledged; others may have been submitted when the server was killed.
    private static func submit(_ runs: Int, by client: Client) async throws -> [Int64] {
        var acknowledged: [Int64] = []
        while acknowledged.count < runs {
            try await eventually("the server takes a run", within: .seconds(60)) {
                do throws(MillraceError) {
                    acknowledged.append(try await client.submit(Submission(workflow: "chain")))
                    return true
                } catch {
                    guard error.isRetriable || error.isConnectionLoss || error.code == .unreachable else { throw error }
                    return false
                }
            }
        }
        return acknowledged
    }
}

/// An endpoint in a process of its own. What it has taken is in a file, a batch a line.
private final class EndpointProcess {
    let url: String
    private let port: Int
    private let file = "/tmp/millrace-events-\(UUID().uuidString).batches"
    private var program: Program
    private var offset = 0
    private var events: [Receiver.Received] = []

    init() throws {
        port = Server.freePort()
        url = "http://127.0.0.1:\(port)/events"
        program = try Program("EventReceiver", ["\(port)", file])
    }

    func restart() async throws {
        try await program.die()
        program = try Program("EventReceiver", ["\(port)", file])
    }

    func remove() { try? FileManager.default.removeItem(atPath: file) }

    /// In the order of arrival, repeats too. A line that is still being written is left to the next look.
    func received() throws -> [Receiver.Received] {
        guard let handle = FileHandle(forReadingAtPath: file) else { return [] }
        defer { try? handle.close() }
        try handle.seek(toOffset: UInt64(offset))
        let bytes = [UInt8](try handle.readToEnd() ?? Data())
        guard let end = bytes.lastIndex(of: UInt8(ascii: "\n")) else { return events }
        for line in bytes[..<end].split(separator: UInt8(ascii: "\n")) { events += try Receiver.events(Array(line)) }
        offset += end + 1
        return events
    }
}
