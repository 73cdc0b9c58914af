import Configuration
import Millrace
import Postgres

extension AgentConfiguration {
    /// Reads the settings from flags, environment or files, whatever `reader` stands for; what is not set keeps its
    /// default.
    public init(reader: ConfigReader) throws {
        self.init()
        let agent = reader.scoped(to: "agent")
        name = agent.string(forKey: "name", default: name)
        queues = agent.stringArray(forKey: "queues", default: queues)
        handlers = agent.stringArray(forKey: "handlers")
        concurrency.total = try agent.number("concurrency", default: concurrency.total)
        for limit in agent.stringArray(forKey: "handlerConcurrency", default: []) {
            let parts = limit.split(separator: ":")
            guard parts.count == 2, let number = Int(parts[1]) else {
                throw AgentConfigurationError(
                    message: "The agent's setting handlerConcurrency has \"\(limit)\"; write for example shell:4."
                )
            }
            concurrency.perHandler[String(parts[0])] = number
        }
        reports.batchSize = try agent.number("reports.batchSize")
        reports.flushDelay = try agent.duration("reports.flushDelay")
        reports.flights = try agent.number("reports.flights")
        claims.lookahead = try agent.duration("claims.lookahead")
        claims.patience = try agent.duration("claims.patience", default: claims.patience)
        claims.lookInterval = try agent.duration("claims.lookInterval", default: claims.lookInterval)
        claims.maxBytes = try agent.number("claims.maxBytes", default: claims.maxBytes)
        lease = try agent.duration("lease", default: lease)
        shutdown.gracePeriod = try agent.duration("shutdown.gracePeriod", default: shutdown.gracePeriod)
        reconnect.first = try agent.duration("reconnect.first", default: reconnect.first)
        reconnect.max = try agent.duration("reconnect.max", default: reconnect.max)
        pool.min = try agent.number("pool.min", default: pool.min)
        pool.max = try agent.number("pool.max", default: pool.max)
        pool.acquireTimeout = try agent.duration("pool.acquireTimeout", default: pool.acquireTimeout)
        pool.idleTimeout = try agent.duration("pool.idleTimeout", default: pool.idleTimeout)
        pool.lifetime = try agent.duration("pool.lifetime", default: pool.lifetime)
        secrets.directory = agent.string(forKey: "secrets.directory")
        secrets.command = agent.stringArray(forKey: "secrets.command")
        outputs.store = agent.string(forKey: "outputs.store")
        outputs.inlineBytes = try agent.number("outputs.inlineBytes", default: outputs.inlineBytes)
        try check()
    }
}

extension ConfigReader {
    fileprivate func number(_ key: ConfigKey, default fallback: Int) throws -> Int { try number(key) ?? fallback }

    /// A whole number; text that is none is an error, not the default.
    fileprivate func number(_ key: ConfigKey) throws -> Int? {
        if let number = int(forKey: key) { return number }
        guard let text = string(forKey: key) else { return nil }
        throw AgentConfigurationError(message: "The agent's setting \(key) is \"\(text)\"; write a whole number.")
    }

    fileprivate func duration(_ key: ConfigKey, default fallback: Duration) throws -> Duration {
        try duration(key) ?? fallback
    }

    /// A duration as text: a number with `ms`, `s`, `m` or `h`; a bare number is seconds.
    fileprivate func duration(_ key: ConfigKey) throws -> Duration? {
        guard let text = string(forKey: key) else { return nil }
        guard let duration = Duration(text: text) else {
            throw AgentConfigurationError(
                message: "The agent's setting \(key) is \"\(text)\"; write a duration such as 250ms, 10s, 5m or 1h."
            )
        }
        return duration
    }
}
