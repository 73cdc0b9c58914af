import Metrics

/// What a reader measures. Labels are listed in docs/events.md.
struct EventReaderMetrics: Sendable {
    private let read: Counter
    private let filtered: Counter
    private let repeated: Counter
    private let buffered: Gauge
    private let readTime: Timer
    private let failures: Counter
    private let gaps: Counter

    init(subscription: String) {
        let dimensions = [("subscription", subscription)]
        read = Counter(label: "millrace_events_read_total", dimensions: dimensions)
        filtered = Counter(label: "millrace_events_filtered_total", dimensions: dimensions)
        repeated = Counter(label: "millrace_events_repeated_total", dimensions: dimensions)
        buffered = Gauge(label: "millrace_events_buffered", dimensions: dimensions)
        readTime = Timer(label: "millrace_events_read_duration", dimensions: dimensions)
        failures = Counter(label: "millrace_events_failed_reads_total", dimensions: dimensions)
        gaps = Counter(label: "millrace_events_gaps_total", dimensions: dimensions)
    }

    func added(_ added: EventBuffer.Added, buffered depth: Int, in duration: Duration) {
        read.increment(by: added.kept + added.filtered + added.repeated)
        if added.filtered > 0 { filtered.increment(by: added.filtered) }
        if added.repeated > 0 { repeated.increment(by: added.repeated) }
        buffered.record(depth)
        readTime.recordNanoseconds(Int64(duration.seconds * 1e9))
    }

    func took(buffered depth: Int) { buffered.record(depth) }

    func failed() { failures.increment() }

    func overtaken() { gaps.increment() }
}
