import Glibc
import Logging
import Millrace
import Postgres
import ServiceLifecycle

/// A process that claims steps, executes them with its handlers and reports what came of them.
///
/// ```swift
/// var agent = Agent(database: try PostgresConfiguration("postgresql:///app"))
/// agent.register("greet") { (person: Person, step) in Greeting(text: "Hello \(person.name)") }
/// try await agent.runService()
/// ```
///
/// All that is known of a step is in the database; an agent may die at any moment, and another one goes on.
public struct Agent: Service, Sendable {
    public var configuration: AgentConfiguration
    public var handlers: Handlers
    private let database: PostgresConfiguration
    private let logger: Logger

    /// - Parameter handlers: ``Handlers/standard``, or fewer, or more.
    public init(
        configuration: AgentConfiguration = .init(),
        handlers: Handlers = .standard,
        database: PostgresConfiguration,
        logger: Logger = Logger(label: "millrace.agent")
    ) {
        self.configuration = configuration
        self.handlers = handlers
        self.database = database
        self.logger = logger
    }

    /// Registers a closure whose input and output are JSON values of the given types.
    public mutating func register<Input: Decodable & SendableMetatype, Value: Encodable & SendableMetatype>(
        _ name: String,
        _ body: @escaping @Sendable (Input, StepContext) async throws -> Value
    ) {
        handlers.register(name, body)
    }

    /// Registers a closure with an input and no output.
    public mutating func register<Input: Decodable & SendableMetatype>(
        _ name: String,
        _ body: @escaping @Sendable (Input, StepContext) async throws -> Void
    ) {
        handlers.register(name, body)
    }

    /// Registers a closure for a handler whose types are declared, as workflows written in Swift name it.
    public mutating func register<Input: Decodable & SendableMetatype, Value: Encodable & SendableMetatype>(
        _ handler: TypedHandler<Input, Value>,
        _ body: @escaping @Sendable (Input, StepContext) async throws -> Value
    ) {
        handlers.register(handler, body)
    }

    /// Registers a closure that executes the steps of a batch in one call.
    public mutating func registerBatch(
        _ name: String,
        _ body: @escaping @Sendable ([StepContext]) async throws -> [Result<Output, any Error>]
    ) {
        handlers.registerBatch(name, body)
    }

    /// Registers a handler.
    public mutating func register(_ name: String, _ handler: any Handler) {
        handlers.register(name, handler)
    }

    /// Works until a graceful shutdown (running steps may finish within the grace period, the rest is given back) or
    /// cancellation (running steps are stopped at once and given back).
    ///
    /// - Throws: when the database cannot be reached or refuses the agent at the start. Later on it is waited for.
    public func run() async throws {
        try configuration.check()
        let served = try servedHandlers()
        BrokenPipe.survived
        let database = watched(database)
        try await Connection.connect(database, logger: logger).close()

        let pool = Pool(database, configuration: configuration.pool, logger: logger)
        let listener = Listener(database, backOff: configuration.reconnect, logger: logger)
        let loop = AgentLoop(
            configuration: configuration,
            handlers: served,
            pool: pool,
            listener: listener,
            logger: logger
        )
        let services = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: pool), .init(service: listener),
                    .init(service: loop, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                logger: logger
            )
        )
        do {
            try await services.run()
        } catch {
            await farewell(loop, database)
            throw error
        }
        await farewell(loop, database)
    }

    /// Works until SIGTERM or SIGINT.
    public func runService() async throws {
        let services = ServiceGroup(
            configuration: .init(
                services: [.init(service: self)],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await services.run()
    }

    private func servedHandlers() throws(AgentConfigurationError) -> [String: any Handler] {
        guard let names = configuration.handlers else { return handlers.byName }
        var served: [String: any Handler] = [:]
        for name in names {
            guard let handler = handlers.byName[name] else {
                let known = handlers.byName.keys.sorted().joined(separator: ", ")
                throw AgentConfigurationError(message: "This agent has no handler \"\(name)\". It has: \(known).")
            }
            served[name] = handler
        }
        return served
    }

    /// A connection whose other side has vanished without a word must not hold the agent for hours.
    private func watched(_ database: PostgresConfiguration) -> PostgresConfiguration {
        var database = database
        let defaults = [
            "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "20000",
        ]
        database.parameters.merge(defaults) { given, _ in given }
        return database
    }

    /// After a cancellation the pool is gone, and the agent still holds what it held: gives it back.
    private func farewell(_ loop: AgentLoop, _ database: PostgresConfiguration) async {
        guard let agentID = loop.agentID else { return }
        var database = database
        database.connectTimeout = .seconds(2)
        let (configuration, logger) = (database, logger)
        // Not a child: the caller has been cancelled.
        await Task {
            do {
                var single = Pool.Configuration()
                (single.min, single.max, single.failsFast) = (1, 1, true)
                try await Pool.with(configuration, configuration: single, logger: logger) { pool in
                    try await WorkClient(pool: pool).deregister(agent: agentID)
                }
            } catch {
                logger.warning(
                    "The agent could not take its leave; its lease will run out.",
                    metadata: ["error": "\(error)"]
                )
            }
        }.value
    }
}
