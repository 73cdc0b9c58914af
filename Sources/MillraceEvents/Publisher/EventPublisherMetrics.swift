import Foundation
import Metrics
import Millrace

/// What a publisher measures. Labels are listed in docs/events.md.
struct EventPublisherMetrics: Sendable {
    private let delivered: Counter
    private let batches: Counter
    private let retries: Counter
    private let lag: Gauge
    private let deliveryTime: Timer

    init(subscription: String) {
        let dimensions = [("subscription", subscription)]
        delivered = Counter(label: "millrace_events_delivered_total", dimensions: dimensions)
        batches = Counter(label: "millrace_events_batches_total", dimensions: dimensions)
        retries = Counter(label: "millrace_events_retried_batches_total", dimensions: dimensions)
        lag = Gauge(label: "millrace_events_lag_seconds", dimensions: dimensions)
        deliveryTime = Timer(label: "millrace_events_delivery_duration", dimensions: dimensions)
    }

    func delivered(_ events: [Event], in duration: Duration) {
        delivered.increment(by: events.count)
        batches.increment()
        deliveryTime.recordNanoseconds(Int64(duration.inSeconds * 1e9))
        // Of the last one; clocks of different machines may differ.
        if let last = events.last { lag.record(max(0, Date().timeIntervalSince1970 - last.at.secondsSince1970)) }
    }

    func retried() { retries.increment() }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
