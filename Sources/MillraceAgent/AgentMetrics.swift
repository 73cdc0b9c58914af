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
    private let queueAge = Gauge(label: "millrace_agent_queue_age_seconds")
    private let batchSize = Gauge(label: "millrace_agent_tuned_batch_size")
    private let flights = Gauge(label: "millrace_agent_tuned_flights")
    private let flushDelay = Gauge(label: "millrace_agent_tuned_flush_delay_seconds")
    private let lookahead = Gauge(label: "millrace_agent_tuned_lookahead_seconds")
    private let connections = Gauge(label: "millrace_agent_tuned_connections")
    private let decisions: [TuningDecision.Knob: Counter]
    private let flightTime = Timer(label: "millrace_agent_flight_duration")
    private let failedFlights = Counter(label: "millrace_agent_failed_flights_total")

    init() {
        let all: [Outcome] = [.completed, .failed, .fatal, .timedOut, .released]
        outcomes = Dictionary(
            uniqueKeysWithValues: all.map {
                ($0, Counter(label: "millrace_agent_steps_reported_total", dimensions: [("outcome", $0.rawValue)]))
            }
        )
        decisions = Dictionary(
            uniqueKeysWithValues: TuningDecision.Knob.allCases.map {
                ($0, Counter(label: "millrace_agent_tuner_decisions_total", dimensions: [("what", $0.rawValue)]))
            }
        )
    }

    /// What the agent holds and how it is tuned at a moment.
    struct Held: Sendable {
        let running: Int
        let queued: Int
        let queueAge: Duration
        let tuning: Tuning

        init(_ state: AgentState, at now: ContinuousClock.Instant) {
            running = state.running
            queued = state.queued
            queueAge = state.queuedSince.map { now - $0 } ?? .zero
            tuning = state.tuner.tuning
        }
    }

    func landed(_ flight: Flight, _ answer: Reported, after duration: Duration, _ held: Held) {
        if flight.capacity != nil {
            claims.increment()
            if answer.started.isEmpty { emptyClaims.increment() }
        }
        started.increment(by: answer.started.count)
        flightTime.recordNanoseconds(Int64(duration.inSeconds * 1e9))
        record(held)
        guard !flight.reports.isEmpty else { return }
        var counts: [Outcome: Int] = [:]
        for report in flight.reports { counts[report.outcome, default: 0] += 1 }
        for (outcome, count) in counts { outcomes[outcome]?.increment(by: count) }
    }

    private func record(_ held: Held) {
        running.record(held.running)
        queued.record(held.queued)
        queueAge.record(held.queueAge.inSeconds)
        batchSize.record(held.tuning.batchSize)
        flights.record(held.tuning.flights)
        flushDelay.record(held.tuning.flushDelay.inSeconds)
        lookahead.record(held.tuning.lookahead.inSeconds)
        connections.record(held.tuning.connections)
    }

    func decided(_ decision: TuningDecision) { decisions[decision.knob]?.increment() }

    func failed() { failedFlights.increment() }
}
