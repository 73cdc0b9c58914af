import Foundation
import Postgres

/// What an agent serves, how much at once, and how it talks to the database. The defaults suit a small machine;
/// docs/agent.md lists every setting with its name in files, in the environment and as a flag.
public struct AgentConfiguration: Sendable {
    /// Shown in the view `millrace.agents`. Default: host name and process number.
    public var name = "\(ProcessInfo.processInfo.hostName):\(ProcessInfo.processInfo.processIdentifier)"
    /// The queues whose steps this agent takes.
    public var queues = ["default"]
    /// The handlers to serve, of those that are registered; nil: all of them.
    public var handlers: [String]?
    public var concurrency = Concurrency()
    public var reports = Reports()
    public var claims = Claims()
    /// How long the database believes in the agent after a heartbeat.
    public var lease = Duration.seconds(10)
    public var shutdown = Shutdown()
    /// The pauses between tries to reach a database that is gone.
    public var reconnect = BackOff()
    /// The connections for claims, reports, heartbeats and `sql` steps.
    public var pool = Pool.Configuration()
    public var secrets = Secrets()
    public var outputs = Outputs()

    public init() {}

    /// Steps in execution at once.
    public struct Concurrency: Sendable {
        /// Over all handlers. Default: 8 for each core, since most steps wait for others.
        public var total = 8 * ProcessInfo.processInfo.activeProcessorCount
        /// For single handlers; others are bounded by `total` alone, and `sql` by the connections of the pool.
        public var perHandler: [String: Int] = [:]

        public init() {}
    }

    /// Results on their way to the database. What is nil is tuned by what the agent measures.
    public struct Reports: Sendable {
        /// The most results, and the most new steps, of one call. Tuned: 50 to 5,000, from 500.
        public var batchSize: Int?
        /// How long a result may wait for others that are to be expected; one that stands alone leaves at once.
        /// Tuned: 0.1 to 5 ms.
        public var flushDelay: Duration?
        /// Calls under way at once. Tuned: 1 to 4, and at most a quarter of the pool's connections, from 2.
        public var flights: Int?

        public init() {}
    }

    /// Work on its way from the database.
    public struct Claims: Sendable {
        /// How much work, measured in its own time, to hold ready beside what is in execution. Steps that take longer
        /// than that are not claimed before they can start, so that other agents find them. Nil: one to four round
        /// trips, between 1 and 250 ms.
        public var lookahead: Duration?
        /// How long a step may wait here for a slot before it is given back.
        public var patience = Duration.milliseconds(250)
        /// How often to look without having been woken, give or take a fifth.
        public var lookInterval = Duration.seconds(5)
        /// The bound on the inputs and settings of one call.
        public var maxBytes = 8 << 20

        public init() {}
    }

    /// Where secrets (`secret://NAME` in a definition) come from, beside the environment (`MILLRACE_SECRET_NAME`).
    public struct Secrets: Sendable {
        /// A directory with a file for each, as orchestrators mount them.
        public var directory: String?
        /// A program and its arguments, to which the name is added; it prints the secret.
        public var command: [String]?

        public init() {}
    }

    /// Outputs that are too large for the database.
    public struct Outputs: Sendable {
        /// Where they go: `file:///directory`, or the address of an HTTP server that keeps what is PUT. All agents whose
        /// steps take them need the same. Nil: nowhere; what is larger than the database allows fails its step.
        public var store: String?
        /// Larger ones go to the store.
        public var inlineBytes = 256 << 10

        public init() {}
    }

    /// The end.
    public struct Shutdown: Sendable {
        /// How long running steps may go on after a request to stop; then they are stopped and given back.
        public var gracePeriod = Duration.seconds(30)

        public init() {}
    }
}

extension AgentConfiguration {
    var limits: AgentLimits {
        AgentLimits(
            concurrency: concurrency.total,
            tuning: tuning,
            maxBytes: claims.maxBytes,
            patience: claims.patience,
            lookInterval: claims.lookInterval,
            reconnect: reconnect
        )
    }

    /// A value that is set is a range of one.
    var tuning: TuningBounds {
        let bounds = TuningBounds()
        return TuningBounds(
            batchSize: reports.batchSize.map { $0...$0 } ?? bounds.batchSize,
            flights: reports.flights.map { $0...$0 } ?? 1...(pool.max / 4).clamped(to: 2...bounds.flights.upperBound),
            flushDelay: reports.flushDelay.map { $0...$0 } ?? bounds.flushDelay,
            lookahead: claims.lookahead.map { $0...$0 } ?? bounds.lookahead,
            connections: min(pool.min, pool.max)...pool.max
        )
    }

    /// Steps of a handler in execution at once.
    func limit(for handler: String) -> Int {
        let limit = min(concurrency.total, concurrency.perHandler[handler] ?? concurrency.total)
        // Each sql step holds a connection; flights and the heartbeat must always find one.
        return handler == "sql" ? max(1, min(limit, pool.max - tuning.flights.upperBound - 1)) : limit
    }

    /// Says what cannot work.
    func check() throws(AgentConfigurationError) {
        func require(_ condition: Bool, _ name: String, _ rule: String) throws(AgentConfigurationError) {
            guard condition else {
                throw AgentConfigurationError(message: "The agent's setting \(name) must be \(rule).")
            }
        }
        try require(!queues.isEmpty, "queues", "the name of at least one queue")
        try require(concurrency.total >= 1, "concurrency", "at least 1")
        for (handler, limit) in concurrency.perHandler {
            try require(
                limit >= 1,
                "concurrency for \(handler)",
                "at least 1; leave the handler out of `handlers` to serve none"
            )
        }
        try require(
            reports.batchSize.map { (1...100_000).contains($0) } ?? true,
            "reports.batch_size",
            "between 1 and 100000"
        )
        try require(reports.flights.map { (1...16).contains($0) } ?? true, "reports.flights", "between 1 and 16")
        try require(reports.flushDelay ?? .zero >= .zero, "reports.flush_delay", "no negative duration")
        try require(claims.lookahead ?? .zero >= .zero, "claims.lookahead", "no negative duration")
        try require(claims.patience > .zero, "claims.patience", "a positive duration")
        try require(claims.lookInterval > .zero, "claims.look_interval", "a positive duration")
        try require((1024...1 << 30).contains(claims.maxBytes), "claims.max_bytes", "between 1 KiB and 1 GiB")
        let scheme = outputs.store.flatMap { URL(string: $0)?.scheme }
        try require(
            outputs.store == nil || ["file", "http", "https"].contains(scheme),
            "outputs.store",
            "a file://, http:// or https:// address"
        )
        try require(outputs.inlineBytes >= 1024, "outputs.inline_bytes", "at least 1024")
        try require(shutdown.gracePeriod >= .zero, "shutdown.grace_period", "no negative duration")
        let flights = reports.flights ?? 2
        try require(pool.max >= flights + 2, "pool.max", "at least \(flights + 2): two more than reports.flights")
    }
}

/// A setting that cannot work.
public struct AgentConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    public var message: String
    public var description: String { message }
}
