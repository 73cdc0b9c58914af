import Postgres

/// The numbers an ``AgentState`` decides by.
package struct AgentLimits: Sendable {
    /// Steps in execution at once, over all handlers.
    package var concurrency: Int
    /// The most steps one call reports, and the most it takes.
    package var batchSize: Int
    /// The bound on the bytes one call reports or takes.
    package var maxBytes: Int
    /// How long a result may wait for others, when calls are under way or work is at hand.
    package var flushDelay: Duration
    /// Calls under way at once.
    package var flights: Int
    /// How much work, measured in time, to hold ready beside what is in execution.
    package var lookahead: Duration
    /// How often to look for work when nothing has announced any.
    package var lookInterval: Duration
    /// The pauses after calls that found no database.
    package var reconnect: BackOff

    package init(
        concurrency: Int,
        batchSize: Int = 500,
        maxBytes: Int = 8 << 20,
        flushDelay: Duration = .milliseconds(2),
        flights: Int = 2,
        lookahead: Duration = .milliseconds(20),
        lookInterval: Duration = .seconds(5),
        reconnect: BackOff = BackOff()
    ) {
        self.concurrency = concurrency
        self.batchSize = batchSize
        self.maxBytes = maxBytes
        self.flushDelay = flushDelay
        self.flights = flights
        self.lookahead = lookahead
        self.lookInterval = lookInterval
        self.reconnect = reconnect
    }
}
