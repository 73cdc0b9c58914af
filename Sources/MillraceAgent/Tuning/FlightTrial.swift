/// Whether one call more or fewer at a time brings more steps a second.
///
/// Both numbers take turns (as they are, changed, changed, as they are), so that a drift of the load does not decide;
/// the change is kept if it wins by a margin. Counts only while more work waits than is taken: else the rate says how
/// much work there is, not how fast it is done. Whoever has found nothing better rests, each time for longer.
struct FlightTrial: Sendable {
    typealias Instant = ContinuousClock.Instant

    /// What a change must win by.
    static let margin = 1.08
    /// Calls that one turn counts at least.
    static let callsPerTurn = 8
    static let shortestRest = Duration.seconds(1)
    static let longestRest = Duration.seconds(64)
    /// Calls that came back with too little before a trial is given up.
    static let patience = 16

    private enum Phase {
        /// Until then nothing is tried.
        case resting(until: Instant?)
        /// So many answers still belong to the turn before.
        case settling(Int)
        case measuring(since: Instant, steps: Int, calls: Int)
    }

    /// What a side has done in its turns.
    private struct Side {
        var steps = 0
        var seconds = 0.0
        var rate: Double { seconds > 0 ? Double(steps) / seconds : 0 }
    }

    struct Verdict: Equatable {
        let from: Int
        let to: Int
        let gain: Double
    }

    let bounds: ClosedRange<Int>
    /// What is in force now; during a trial the one or the other.
    private(set) var flights: Int
    private var settled: Int
    private var direction = 1
    private var failedDirections = 0
    private var rest = shortestRest
    private var phase = Phase.resting(until: nil)
    private var turn = 0
    private var asItIs = Side()
    private var changed = Side()
    private var misses = 0

    init(start: Int, bounds: ClosedRange<Int>) {
        self.bounds = bounds
        flights = start
        settled = start
    }

    /// The value that trials start from.
    var chosen: Int { settled }

    /// A call has come back.
    ///
    /// - Parameters:
    ///   - steps: What it has reported.
    ///   - isSaturated: Whether it brought all that it asked for.
    ///   - stillOut: Calls under way now.
    mutating func landed(steps: Int, isSaturated: Bool, stillOut: Int, at now: Instant) -> Verdict? {
        guard bounds.count > 1 else { return nil }
        switch phase {
        case .resting(let until):
            guard let until else {
                phase = .resting(until: now + rest)
                return nil
            }
            if now >= until, isSaturated { begin(stillOut: stillOut, at: now) }
        case .settling(let left):
            phase = left > 1 ? .settling(left - 1) : .measuring(since: now, steps: 0, calls: 0)
        case .measuring(let since, let before, let calls):
            guard isSaturated else {
                misses += 1
                if misses > Self.patience { rest(at: now) } else { phase = .measuring(since: now, steps: 0, calls: 0) }
                return nil
            }
            phase = .measuring(since: since, steps: before + steps, calls: calls + 1)
            if calls + 1 >= Self.callsPerTurn { return endTurn(since, before + steps, stillOut: stillOut, at: now) }
        }
        return nil
    }

    /// The other number of this trial.
    private var challenger: Int { settled + direction }

    private mutating func begin(stillOut: Int, at now: Instant) {
        if !bounds.contains(challenger) { direction = -direction }
        guard bounds.contains(challenger) else { return rest(at: now) }
        (asItIs, changed, turn, misses) = (Side(), Side(), 0, 0)
        phase = .measuring(since: now, steps: 0, calls: 0)
    }

    private mutating func endTurn(_ since: Instant, _ steps: Int, stillOut: Int, at now: Instant) -> Verdict? {
        let seconds = (now - since).inSeconds
        if turn == 0 || turn == 3 {
            asItIs.steps += steps
            asItIs.seconds += seconds
        } else {
            changed.steps += steps
            changed.seconds += seconds
        }
        turn += 1
        guard turn < 4 else { return decide(at: now) }
        flights = turn == 3 ? settled : challenger
        // From one changed turn to the next nothing has to settle.
        phase = turn == 2 ? .measuring(since: now, steps: 0, calls: 0) : .settling(max(1, stillOut))
        return nil
    }

    private mutating func decide(at now: Instant) -> Verdict? {
        let gain = asItIs.rate > 0 ? changed.rate / asItIs.rate : 1
        guard gain > Self.margin else {
            failedDirections += 1
            direction = -direction
            if failedDirections >= 2 {
                failedDirections = 0
                rest = min(rest * 2, Self.longestRest)
            }
            rest(at: now)
            return nil
        }
        let verdict = Verdict(from: settled, to: challenger, gain: gain)
        settled = challenger
        failedDirections = 0
        rest = Self.shortestRest
        rest(at: now)
        return verdict
    }

    private mutating func rest(at now: Instant) {
        flights = settled
        phase = .resting(until: now + rest)
    }
}
