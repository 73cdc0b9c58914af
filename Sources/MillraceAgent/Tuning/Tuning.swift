/// What a ``Tuner`` decides.
package struct Tuning: Sendable, Equatable {
    /// The most steps one call reports, and the most it takes.
    package var batchSize: Int
    /// Calls under way at once.
    package var flights: Int
    /// How long a result may wait for others.
    package var flushDelay: Duration
    /// How much work, measured in time, to hold ready beside what is in execution.
    package var lookahead: Duration
    /// Connections to keep open.
    package var connections: Int
}

/// Between which values a ``Tuner`` may choose; a range of one value is a fixed setting.
package struct TuningBounds: Sendable, Equatable {
    package var batchSize: ClosedRange<Int>
    package var flights: ClosedRange<Int>
    package var flushDelay: ClosedRange<Duration>
    package var lookahead: ClosedRange<Duration>
    package var connections: ClosedRange<Int>

    package init(
        batchSize: ClosedRange<Int> = 50...5000,
        flights: ClosedRange<Int> = 1...4,
        flushDelay: ClosedRange<Duration> = .microseconds(100) ... .milliseconds(5),
        lookahead: ClosedRange<Duration> = .milliseconds(1) ... .milliseconds(250),
        connections: ClosedRange<Int> = 2...20
    ) {
        self.batchSize = batchSize
        self.flights = flights
        self.flushDelay = flushDelay
        self.lookahead = lookahead
        self.connections = connections
    }

    /// Where to begin: near what was best on the machines measured so far.
    var start: Tuning {
        Tuning(
            batchSize: 500.clamped(to: batchSize),
            flights: 2.clamped(to: flights),
            flushDelay: Duration.milliseconds(1).clamped(to: flushDelay),
            lookahead: Duration.milliseconds(5).clamped(to: lookahead),
            connections: connections.lowerBound
        )
    }
}

/// One value changed; what the log and the metrics tell of it.
package struct TuningDecision: Sendable, Equatable {
    package enum Knob: String, Sendable, CaseIterable {
        case batchSize = "batch_size"
        case flights
        case connections
    }

    package let knob: Knob
    package let from: Int
    package let to: Int
    /// What was measured.
    package let reason: String
}

extension Comparable {
    func clamped(to range: ClosedRange<Self>) -> Self { min(max(self, range.lowerBound), range.upperBound) }
}
