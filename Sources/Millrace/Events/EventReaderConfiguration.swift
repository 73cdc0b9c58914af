import Postgres

extension EventReader {
    /// How events are read. The defaults suit a subscription that must keep up with a busy database.
    public struct Configuration: Sendable {
        /// The most events of a batch.
        public var batchSize = 1000
        /// How long an event may wait for others to fill a batch. What comes after a silence does not wait.
        public var flushDelay = Duration.milliseconds(2)
        /// Which events are handed out.
        public var filter = EventFilter()
        /// The most events that one call reads.
        public var readSize = 2000
        /// How many events are read ahead of delivery. Past it reading waits: back-pressure.
        public var capacity = 8000
        /// How many event ids are remembered, so that what is read again is not handed out again.
        public var window = 100_000
        /// How often to look without having been woken, give or take a fifth.
        public var lookInterval = Duration.seconds(5)
        /// How often at most the position is stored.
        public var storeInterval = Duration.seconds(1)
        /// How long the end waits for a batch that has been handed out.
        public var gracePeriod = Duration.seconds(10)
        /// The pauses between tries to reach a database that is gone.
        public var reconnect = BackOff()

        public init() {}

        /// - Throws: A setting that cannot work.
        public func check() throws(MillraceError) {
            func require(_ condition: Bool, _ name: String, _ rule: String) throws(MillraceError) {
                guard condition else { throw MillraceError(.malformed, "\(name) must be \(rule).") }
            }
            try require((1...100_000).contains(batchSize), "The size of a batch of events", "between 1 and 100000")
            try require((1...100_000).contains(readSize), "The number of events of a read", "between 1 and 100000")
            try require(capacity >= readSize, "The room for events", "at least as large as a read")
            try require(flushDelay >= .zero, "The time that an event waits for others", "no negative duration")
            try require(lookInterval > .zero, "The pause between looks", "a positive duration")
            try require(storeInterval > .zero, "The pause between storing positions", "a positive duration")
            try require(window >= 0, "The number of remembered events", "at least 0")
        }
    }
}
