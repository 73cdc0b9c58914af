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
    package internal(set) var supply = Supply.possible
    /// How often something was announced; tells whether an empty answer is already out of date.
    var announcements = 0
    /// In order of arrival, with steps that were taken away since.
    var queue: Deque<Work> = []
    /// Seconds a step takes, a moving mean; nil until one has ended.
    var meanElapsed: Double?

    package init(name: String, isImmediate: Bool = false, limit: Int) {
        self.name = name
        self.isImmediate = isImmediate
        self.limit = limit
    }

    /// Steps to hold beside those in execution: as many as are done within the look-ahead.
    func prefetch(lookahead: Duration, atMost bound: Int) -> Int {
        guard let meanElapsed else { return 0 }
        let rounds = lookahead.inSeconds / max(meanElapsed, 1e-6)
        return Int(min(Double(bound), Double(limit) * rounds))
    }

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
