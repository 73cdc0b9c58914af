import Foundation
import MillraceTestSupport
import Postgres

/// Three agents on one database, and what befalls them.
struct Chaos {
    enum Blow: CaseIterable {
        /// An agent's process dies; another one takes its place.
        case agent
        /// The connection on which an agent listens is cut.
        case listener
        /// A server process dies, and takes the server through crash recovery.
        case backend
        /// The server stops at once, and starts again.
        case server
    }

    /// From the blow until the server answered again.
    struct Outage {
        var from: Date
        var until: Date
    }

    let cluster: PostgresCluster
    let work: ChaosWork
    let lease: Int
    private(set) var outages: [Outage] = []
    /// When agents were killed, by name.
    private(set) var killed: [String: Date] = [:]
    private var agents: [AgentProcess] = []
    private var started = 0

    init(cluster: PostgresCluster, work: ChaosWork, lease: Int) {
        self.cluster = cluster
        self.work = work
        self.lease = lease
    }

    var agentLogs: String { agents.map { "\($0.name): \($0.log.suffix(1500))" }.joined(separator: "\n") }

    mutating func run(kills: Int) async throws {
        defer { agents.forEach { $0.kill() } }
        for _ in 1...3 { try startAgent() }
        // Every kind in turn, in random order, spread evenly over the work.
        var blows: [Blow] = []
        while blows.count < kills { blows += Blow.allCases.shuffled() }
        for (number, blow) in blows.prefix(kills).enumerated() {
            let mark = work.steps * (number + 1) / (kills + 1)
            try await eventually("\(mark) steps are completed", within: .seconds(120)) {
                await work.completed() >= mark
            }
            try await strike(blow)
        }
        try await eventually("all steps are completed", within: .seconds(120)) { await work.completed() == work.steps }
        for agent in agents { agent.terminate() }
        for agent in agents { try await eventually("\(agent.name) ends") { !agent.isRunning } }
    }

    private mutating func startAgent() throws {
        started += 1
        agents.append(
            try AgentProcess(name: "chaos \(started)", database: cluster.url(database: "chaos"), lease: lease)
        )
    }

    private mutating func strike(_ blow: Blow) async throws {
        switch blow {
        case .agent:
            let victim = agents.remove(at: .random(in: agents.indices))
            killed[victim.name] = Date()
            victim.kill()
            try startAgent()
        case .listener:
            try await query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' ORDER BY random() LIMIT 1"
            )
        case .backend:
            let pid: Int32? = try await query(
                """
                SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                ORDER BY random() LIMIT 1
                """
            )?.first?.decode(0)
            let from = Date()
            if let pid { try cluster.killBackend(pid) }
            try await endOutage(since: from)
        case .server:
            let from = Date()
            try await cluster.restart(.immediate)
            try await endOutage(since: from)
        }
    }

    private mutating func endOutage(since from: Date) async throws {
        try await eventually("the server is back") { await work.completed() >= 0 }
        outages.append(Outage(from: from, until: Date()))
    }

    @discardableResult
    private func query(_ sql: String) async throws -> QueryResult? {
        try await Connection.connect(work.configuration).query(sql)
    }
}
