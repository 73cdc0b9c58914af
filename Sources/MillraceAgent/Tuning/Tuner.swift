/// Finds the sizes of an agent's calls by what it measures: no clock, no tasks, no timers. docs/agent.md has the law.
package struct Tuner: Sendable {
    package typealias Instant = ContinuousClock.Instant

    /// What a call costs by itself shall be at most this share of a full call …
    static let largestFixedShare = 1.0 / 16
    /// … and where it is less than this, smaller batches do as well, and keep results waiting for less.
    static let smallestFixedShare = 1.0 / 80
    /// A full call that takes longer is too large whatever its share.
    static let longestCall = 0.2
    /// Calls between two decisions about the work held ahead.
    static let callsPerCover = 16

    package let bounds: TuningBounds
    package private(set) var tuning: Tuning
    private(set) var roundTrips = RoundTrips()
    private var trial: FlightTrial
    private var decisions: [TuningDecision] = []

    /// Round trips that the work held ahead lasts for.
    private var cover = 1.0
    private var calls = 0
    /// Since the last decision about `cover`: how often a slot stood idle although work was to be had, and the longest
    /// that a step has waited here.
    private var dryMoments = 0
    private var longestWait = Duration.zero

    /// The pool's counter of waits when it was last looked at, and looks at which nobody had waited.
    private var seenWaits = 0
    private var quietLooks = 0

    package init(_ bounds: TuningBounds) {
        self.bounds = bounds
        tuning = bounds.start
        trial = FlightTrial(start: tuning.flights, bounds: bounds.flights)
    }

    /// A call has come back.
    package struct Landing: Sendable {
        package var roundTrip: Duration
        /// What it has reported and what it has brought.
        package var reported: Int
        package var brought: Int
        package var isClaim: Bool
        /// Whether it brought all that it asked for.
        package var isSaturated: Bool
        /// Calls under way now.
        package var stillOut: Int

        package init(
            roundTrip: Duration,
            reported: Int,
            brought: Int,
            isClaim: Bool,
            isSaturated: Bool,
            stillOut: Int
        ) {
            self.roundTrip = roundTrip
            self.reported = reported
            self.brought = brought
            self.isClaim = isClaim
            self.isSaturated = isSaturated
            self.stillOut = stillOut
        }
    }

    package mutating func landed(_ landing: Landing, at now: Instant) {
        roundTrips.landed(
            seconds: landing.roundTrip.inSeconds,
            reported: landing.reported,
            isClaim: landing.isClaim,
            isFull: min(landing.reported, landing.brought) >= tuning.batchSize
        )
        tuneBatch()
        tuneFlights(landing, at: now)
        tuneFlush()
        tuneLookahead()
    }

    /// What was decided since the last time this was asked.
    package mutating func takeDecisions() -> [TuningDecision] {
        defer { decisions = [] }
        return decisions
    }

    // MARK: Batches

    private mutating func tuneBatch() {
        guard let least = roundTrips.least, let full = roundTrips.takeFull() else { return }
        let share = least / max(full, 1e-9)
        var size = tuning.batchSize
        if full > Self.longestCall || share < Self.smallestFixedShare {
            size /= 2
        } else if share > Self.largestFixedShare, 2 * full - least <= Self.longestCall {
            size *= 2
        }
        decide(
            .batchSize,
            \.batchSize,
            size.clamped(to: bounds.batchSize),
            "a full call takes \(full.milliseconds), of which it costs \(least.milliseconds) by itself"
        )
    }

    // MARK: Flights

    private mutating func tuneFlights(_ landing: Landing, at now: Instant) {
        let verdict = trial.landed(
            steps: landing.reported,
            isSaturated: landing.isSaturated,
            stillOut: landing.stillOut,
            at: now
        )
        tuning.flights = trial.flights
        guard let verdict else { return }
        decisions.append(
            TuningDecision(
                knob: .flights,
                from: verdict.from,
                to: verdict.to,
                reason: "\(Int((verdict.gain - 1) * 100)) % more steps a second"
            )
        )
    }

    // MARK: Results

    /// Half a round trip: where the database is slow or busy, results gather in fewer calls, which relieves it.
    private mutating func tuneFlush() {
        guard let mean = roundTrips.mean else { return }
        tuning.flushDelay = Duration.seconds(mean / 2).clamped(to: bounds.flushDelay)
    }

    // MARK: Work ahead

    /// A slot stood idle although work was to be had.
    package mutating func ranDry() { dryMoments += 1 }

    /// A step has begun that waited here for so long.
    package mutating func waited(_ wait: Duration) { longestWait = max(longestWait, wait) }

    private mutating func tuneLookahead() {
        calls += 1
        if calls >= Self.callsPerCover {
            if dryMoments > 0 {
                cover = min(cover + 0.5, 4)
            } else if longestWait > tuning.lookahead * 2 {
                cover = max(cover * 0.8, 1)
            }
            (calls, dryMoments, longestWait) = (0, 0, .zero)
        }
        guard let mean = roundTrips.mean else { return }
        tuning.lookahead = Duration.seconds(mean * cover).clamped(to: bounds.lookahead)
    }

    // MARK: Connections

    /// What the pool says, now and then: it keeps as many connections open as callers would else wait for, and lets one
    /// go after a minute or so without anybody waiting.
    package mutating func looked(atPool waits: Int) {
        let waited = waits - seenWaits
        seenWaits = waits
        quietLooks = waited > 0 ? 0 : quietLooks + 1
        if waited > 0 {
            decide(
                .connections,
                \.connections,
                (tuning.connections + min(waited, 4)).clamped(to: bounds.connections),
                "\(waited) callers waited for one"
            )
        } else if quietLooks >= 20 {
            quietLooks = 0
            decide(
                .connections,
                \.connections,
                (tuning.connections - 1).clamped(to: bounds.connections),
                "nobody waited for one"
            )
        }
    }

    private mutating func decide(
        _ knob: TuningDecision.Knob,
        _ value: WritableKeyPath<Tuning, Int>,
        _ new: Int,
        _ reason: String
    ) {
        let old = tuning[keyPath: value]
        guard new != old else { return }
        tuning[keyPath: value] = new
        decisions.append(TuningDecision(knob: knob, from: old, to: new, reason: reason))
    }
}

extension Double {
    fileprivate var milliseconds: String { "\((self * 100_000).rounded() / 100) ms" }
}
