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
    /// A step that waits here for a slot.
    struct Queued: Sendable {
        let work: Work
        let since: ContinuousClock.Instant
    }

    /// In order of arrival, with steps that were taken away since.
    var queue: Deque<Queued> = []
    /// Steps that may be asked for beyond the free slots.
    var ahead = 0
    /// Seconds a step takes, a moving mean; nil until one has ended.
    var meanElapsed: Double?

    package init(name: String, isImmediate: Bool = false, limit: Int) {
        self.name = name
        self.isImmediate = isImmediate
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

    /// An answer has come: with all that was asked for, or with less. Where there is just enough for everybody, a step
    /// that waits here is one that another agent could run now; so the share beyond the free slots begins with one step,
    /// doubles while it is filled, and ends with the first answer that falls short.
    mutating func learn(isFilled: Bool, atMost bound: Int) {
        ahead = isFilled ? min(max(1, ahead * 2), bound) : 0
    }

    /// Whether it has work here, or had until just now.
    var isActive: Bool { running + queued + finished > 0 }

    /// Whether it stands partly idle although the database has more for it.
    var isDry: Bool { !isImmediate && ahead > 1 && queued == 0 && running < limit }

    mutating func announce() {
        announcements += 1
        if supply == .empty { supply = .possible }
    }

    mutating func measured(_ elapsed: Double) {
        meanElapsed = meanElapsed.map { $0 * 0.8 + elapsed * 0.2 } ?? elapsed
    }
}

extension Duration {
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
