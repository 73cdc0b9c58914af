import Millrace

/// What the database and the agents spent on some steps: counted, not timed, so that a busy machine changes little.
struct Cost: Sendable {
    /// The steps that were measured, and with them those of the warm-up, whose row counts cannot be told apart.
    var steps: Int
    var countedSteps: Int
    var counters: ServerCounters
    var walBytes: Double
    var fullPageBytes: Double?
    /// nil where the server runs elsewhere.
    var serverCPU: Double?
    var agentCPU: Double

    func add(to report: inout BenchReport) {
        let steps = Double(max(steps, 1))
        let counted = Double(max(countedSteps, 1))
        report.add("wal_bytes_per_step", walBytes / steps)
        report.add("full_page_bytes_per_step", fullPageBytes.map { $0 / steps })
        report.add("writes_per_step", Double(counters.writes) / counted)
        report.add("dead_rows_per_step", Double(counters.deadRows) / counted)
        report.add("commits_per_step", Double(counters.commits) / counted)
        report.add("buffer_hits_per_step", Double(counters.bufferHits) / counted)
        report.add("hot_share", Double(counters.hotUpdates) / Double(max(counters.updates, 1)))
        report.add("server_cpu_seconds", serverCPU)
        report.add("agent_cpu_seconds", agentCPU)
        report.add("server_cpu_us_per_step", serverCPU.map { $0 * 1e6 / steps })
        report.add("agent_cpu_us_per_step", agentCPU * 1e6 / steps)
    }
}

/// What can be read at any moment.
struct Meter: Sendable {
    var log: LogPosition
    var serverCPU: Double?
    var agentCPU: Double

    static func read(_ client: Client) async throws -> Meter {
        let session = try await client.serverProcesses().first?.pid
        let server = session.flatMap { ProcessTree(sessionOfServer: $0) }
        return Meter(
            log: try await client.logPosition(),
            serverCPU: server?.cpuSeconds,
            agentCPU: ProcessTree.own.cpuSeconds
        )
    }
}
