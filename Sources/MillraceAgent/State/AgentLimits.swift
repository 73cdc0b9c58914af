import Postgres

/// The numbers an ``AgentState`` decides by.
package struct AgentLimits: Sendable {
    /// Steps in execution at once, over all handlers.
    package var concurrency: Int
    /// Between which values the sizes of calls may be tuned.
    package var tuning: TuningBounds
    /// The bound on the bytes one call reports or takes.
    package var maxBytes: Int
    /// How long a step may wait here for a slot before it is given back, so that another agent may run it.
    package var patience: Duration
    /// How often to look for work when nothing has announced any.
    package var lookInterval: Duration
    /// The pauses after calls that found no database.
    package var reconnect: BackOff

    package init(
        concurrency: Int,
        tuning: TuningBounds = TuningBounds(),
        maxBytes: Int = 8 << 20,
        patience: Duration = .milliseconds(250),
        lookInterval: Duration = .seconds(5),
        reconnect: BackOff = BackOff()
    ) {
        self.concurrency = concurrency
        self.tuning = tuning
        self.maxBytes = maxBytes
        self.patience = patience
        self.lookInterval = lookInterval
        self.reconnect = reconnect
    }
}
