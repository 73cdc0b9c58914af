extension Pool {
    public struct Configuration: Sendable, Hashable {
        /// The pool's name in logs and metrics.
        public var name: String
        /// How many connections are kept open when nothing happens.
        public var min: Int
        /// How many there are at most.
        public var max: Int
        /// How long a caller waits for a free connection.
        public var acquireTimeout: Duration
        /// A connection beyond `min` that nobody used for so long is closed.
        public var idleTimeout: Duration
        /// A connection so old is closed when it is free, so that server memory, name changes and fail-overs are
        /// followed.
        public var lifetime: Duration
        /// The share by which lifetimes vary, so that connections made together do not end together.
        public var lifetimeJitter: Double
        /// Whether a failed try to connect fails all who wait at once, as a command line wants it, instead of being
        /// repeated until `acquireTimeout`. A refusal (wrong password, unknown database) always does.
        public var failsFast: Bool
        /// How long to wait between failed tries to connect.
        public var backOff: BackOff

        public init(
            name: String = "millrace",
            min: Int = 2,
            max: Int = 20,
            acquireTimeout: Duration = .seconds(30),
            idleTimeout: Duration = .seconds(600),
            lifetime: Duration = .seconds(1800),
            lifetimeJitter: Double = 0.1,
            failsFast: Bool = false,
            backOff: BackOff = BackOff()
        ) {
            self.name = name
            self.min = min
            self.max = max
            self.acquireTimeout = acquireTimeout
            self.idleTimeout = idleTimeout
            self.lifetime = lifetime
            self.lifetimeJitter = lifetimeJitter
            self.failsFast = failsFast
            self.backOff = backOff
        }
    }

    /// What the pool looks like at a moment; the counters grow from the pool's start.
    public struct Statistics: Sendable, Hashable {
        public var min = 0
        public var max = 0
        /// Handed out.
        public var inUse = 0
        public var idle = 0
        public var connecting = 0
        /// Callers without a connection.
        public var waiting = 0
        /// How often a connection was asked for.
        public var acquires = 0
        /// How often the caller had to wait, and for how long in all.
        public var waits = 0
        public var waited = Duration.zero
        /// How often the caller waited in vain.
        public var timeouts = 0
        /// Connections made.
        public var connects = 0
        /// Connections that broke.
        public var losses = 0
    }
}
