import Metrics

/// What the pool tells swift-metrics.
struct PoolMetrics: Sendable {
    let connects: Counter
    let losses: Counter
    let timeouts: Counter
    let waited: Timer
    private let inUse: Gauge
    private let idle: Gauge
    private let waiting: Gauge
    private let max: Gauge

    init(pool: String) {
        let dimensions = [("pool", pool)]
        connects = Counter(label: "postgres_pool_connects", dimensions: dimensions)
        losses = Counter(label: "postgres_pool_losses", dimensions: dimensions)
        timeouts = Counter(label: "postgres_pool_timeouts", dimensions: dimensions)
        waited = Timer(label: "postgres_pool_waited", dimensions: dimensions)
        inUse = Gauge(label: "postgres_pool_in_use", dimensions: dimensions)
        idle = Gauge(label: "postgres_pool_idle", dimensions: dimensions)
        waiting = Gauge(label: "postgres_pool_waiting", dimensions: dimensions)
        max = Gauge(label: "postgres_pool_max", dimensions: dimensions)
    }

    func record(_ statistics: Pool.Statistics) {
        inUse.record(statistics.inUse)
        idle.record(statistics.idle)
        waiting.record(statistics.waiting)
        max.record(statistics.max)
    }
}
