import DequeModule
import Millrace

/// What an agent holds of one handler, and what it believes the database has for it.
package struct HandlerSlot: Sendable {
    /// What may be claimable for a handler.
    package enum Supply: Sendable {
        /// The last look found less than was asked for.
        case empty
        /// Something was announced, or nobody has looked.
        case possible
        /// The last look found all that was asked for.
        case plentiful
    }

    package let name: String
    package let isImmediate: Bool
    /// Whether it executes the steps of a batch in one call; else each is a step by itself.
    package let takesBatches: Bool
    /// Steps in execution at once.
    package let limit: Int

    package internal(set) var running = 0
    /// Steps of `queue` that have not been taken away.
    package internal(set) var queued = 0
    /// Steps that calls under way have asked for.
    package internal(set) var asked = 0
    /// Steps that have ended since results were last taken along.
    var finished = 0
    package internal(set) var supply = Supply.possible
    /// How often something was announced; tells whether an empty answer is already out of date.
    var announcements = 0
    /// A step, or a batch of them, that waits here for a slot.
    struct Queued: Sendable {
        var work: [Work]
        let since: ContinuousClock.Instant
    }

    /// In order of arrival, with steps that were taken away since.
    var queue: Deque<Queued> = []
    /// Steps that may be asked for beyond the free slots.
    var ahead = 0
    /// Answers in a row that brought all that was asked for, and no more than what followed from the results.
    private var filledAnswers = 0
    /// Seconds a step takes, a moving mean; nil until one has ended.
    private(set) var meanElapsed: Double?
    /// Seconds by which steps differ from that, a moving mean.
    private var deviation = 0.0
    /// Steps in execution, by the moment in which they began.
    private var companions: [ContinuousClock.Instant: Int] = [:]
    /// Those that began together with the one that has ended last, and when that was.
    private var endingTogether = (count: 0, since: ContinuousClock.Instant?.none)

    package init(name: String, isImmediate: Bool = false, takesBatches: Bool = false, limit: Int) {
        self.name = name
        self.isImmediate = isImmediate
        self.takesBatches = takesBatches
        self.limit = limit
    }

    /// Slots that nothing runs in, waits for or has been asked for.
    var free: Int { limit - running - queued - asked }

    /// Steps to hold beside those in execution: as many as are done within the look-ahead, and no more than answers have
    /// shown to be there.
    func prefetch(lookahead: Duration) -> Int {
        guard let meanElapsed, ahead > 0 else { return 0 }
        let rounds = lookahead.inSeconds / max(meanElapsed, 1e-6)
        return Int(min(Double(ahead), Double(limit) * rounds))
    }

    /// Answers after which one step is asked for beyond the free slots, to see whether there is more.
    static let answersPerProbe = 8

    /// An answer has come: with all that was asked for, or with less; with more than followed from the results that the
    /// call had reported, or perhaps with just that. Where there is just enough for everybody, a step that waits here is
    /// one that another agent could run now; so the share beyond the free slots begins with one step, now and then,
    /// doubles while more comes, and ends with the first answer that falls short.
    mutating func learn(isFilled: Bool, isSurplus: Bool, atMost bound: Int) {
        filledAnswers = isFilled && !isSurplus ? filledAnswers + 1 : 0
        if !isFilled {
            ahead = 0
        } else if isSurplus {
            ahead = min(max(1, ahead * 2), bound)
        } else if filledAnswers >= Self.answersPerProbe {
            filledAnswers = 0
            ahead = max(1, ahead)
        }
    }

    mutating func begin(at now: ContinuousClock.Instant) {
        running += 1
        companions[now, default: 0] += 1
    }

    mutating func end(begunAt: ContinuousClock.Instant?, elapsed: Double, at now: ContinuousClock.Instant) {
        running -= 1
        finished += 1
        if let mean = meanElapsed {
            deviation = deviation * 0.8 + abs(elapsed - mean) * 0.2
            meanElapsed = mean * 0.8 + elapsed * 0.2
        } else {
            (meanElapsed, deviation) = (elapsed, elapsed)
        }
        guard let begunAt, let count = companions[begunAt] else { return }
        companions[begunAt] = count > 1 ? count - 1 : nil
        endingTogether = (count - 1, now)
    }

    /// How many of the running steps end within `delay`, if they take as long as others did: those that began together
    /// end together, give or take the deviation; of the others, any moment is as likely as the next.
    func endsExpected(within delay: Duration, at now: ContinuousClock.Instant) -> Double {
        guard running > 0, let meanElapsed else { return 0 }
        let seconds = delay.inSeconds
        let together = endingTogether.since.map { now <= $0 + delay } == true ? endingTogether.count : 0
        return Double(together) * seconds / max(deviation, seconds)
            + Double(running - together) * seconds / max(meanElapsed, seconds)
    }

    /// Whether it has work here, or had until just now.
    var isActive: Bool { running + queued + finished > 0 }

    /// Whether it stands partly idle although the database has more for it.
    var isDry: Bool { !isImmediate && ahead > 1 && queued == 0 && running < limit }

    mutating func announce() {
        announcements += 1
        if supply == .empty { supply = .possible }
    }
}

extension Duration {
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
