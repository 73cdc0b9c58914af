import Metrics
import Millrace

/// What an agent measures. Labels are listed in docs/agent.md.
struct AgentMetrics: Sendable {
    private let claims = Counter(label: "millrace_agent_claims_total")
    private let emptyClaims = Counter(label: "millrace_agent_empty_claims_total")
    private let started = Counter(label: "millrace_agent_steps_started_total")
    private let outcomes: [Outcome: Counter]
    private let running = Gauge(label: "millrace_agent_steps_running")
    private let queued = Gauge(label: "millrace_agent_steps_queued")
    private let flightTime = Timer(label: "millrace_agent_flight_duration")
    private let failedFlights = Counter(label: "millrace_agent_failed_flights_total")

    init() {
        let all: [Outcome] = [.completed, .failed, .fatal, .timedOut, .released]
        outcomes = Dictionary(
            uniqueKeysWithValues: all.map {
                ($0, Counter(label: "millrace_agent_steps_reported_total", dimensions: [("outcome", $0.rawValue)]))
            }
        )
    }

    func landed(_ flight: Flight, _ answer: Reported, after duration: Duration, running: Int, queued: Int) {
        if flight.capacity != nil {
            claims.increment()
            if answer.started.isEmpty { emptyClaims.increment() }
        }
        started.increment(by: answer.started.count)
        flightTime.recordNanoseconds(Int64(duration.inSeconds * 1e9))
        self.running.record(running)
        self.queued.record(queued)
        guard !flight.reports.isEmpty else { return }
        var counts: [Outcome: Int] = [:]
        for report in flight.reports { counts[report.outcome, default: 0] += 1 }
        for (outcome, count) in counts { outcomes[outcome]?.increment(by: count) }
    }

    func failed() { failedFlights.increment() }
}
