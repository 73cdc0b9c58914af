import Histogram
import Synchronization

/// How long something took, over many times; in milliseconds.
package struct Percentiles: Encodable, Sendable, Hashable {
    package var count: Int
    package var mean: Double
    package var p50: Double
    package var p90: Double
    package var p99: Double
    package var p999: Double
    package var max: Double

    static let titles = ["count", "mean", "p50", "p90", "p99", "p99.9", "max"]

    var cells: [String] {
        [Spell.count(count)] + [mean, p50, p90, p99, p999, max].map { Spell.decimal($0, places: 3) }
    }
}

/// Takes times from any task; keeps them to a thousandth, from a microsecond to an hour.
package final class LatencyRecorder: Sendable {
    private static let longest: UInt64 = 3_600_000_000
    private let histogram = Mutex(Histogram<UInt32>(highestTrackableValue: longest))

    package init() {}

    package func record(_ duration: Duration) { record(seconds: duration / .seconds(1)) }

    /// What begins before it is looked for, by clocks that are read one after the other, takes no time.
    package func record(seconds: Double) {
        let microseconds = UInt64(min(max(seconds * 1e6, 0), Double(Self.longest)).rounded())
        histogram.withLock { _ = $0.record(microseconds) }
    }

    package var percentiles: Percentiles {
        histogram.withLock { histogram in
            func milliseconds(_ percentile: Double) -> Double {
                Double(histogram.valueAtPercentile(percentile)) / 1000
            }
            guard histogram.totalCount > 0 else {
                return Percentiles(count: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0)
            }
            return Percentiles(
                count: Int(histogram.totalCount),
                mean: histogram.mean / 1000,
                p50: milliseconds(50),
                p90: milliseconds(90),
                p99: milliseconds(99),
                p999: milliseconds(99.9),
                max: Double(histogram.max) / 1000
            )
        }
    }
}
