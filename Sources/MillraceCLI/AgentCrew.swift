import Logging
import Millrace
import MillraceAgent
import Postgres
import ServiceLifecycle

/// Agents inside this program, for as long as something else goes on.
struct AgentCrew: Sendable {
    var agents: [MillraceAgent.Agent]

    init(
        _ count: Int,
        configuration: AgentConfiguration,
        handlers: Handlers = .standard,
        database: PostgresConfiguration
    ) {
        agents = (0..<count).map { number in
            var configuration = configuration
            configuration.name += count > 1 ? "/\(number + 1)" : ""
            return MillraceAgent.Agent(configuration: configuration, handlers: handlers, database: database)
        }
    }

    /// Lets the agents work while `body` goes on, then stops them gracefully.
    ///
    /// - Throws: ``Interrupted`` where a signal stopped the agents first.
    func work<Result: Sendable>(while body: @escaping @Sendable () async throws -> Result) async throws -> Result {
        let group = ServiceGroup(
            configuration: .init(
                services: agents.map { .init(service: $0) },
                gracefulShutdownSignals: [.sigint, .sigterm],
                logger: Logger(label: "millrace")
            )
        )
        return try await withThrowingTaskGroup(of: Result?.self) { tasks in
            tasks.addTask {
                try await group.run()
                return nil
            }
            tasks.addTask { try await body() }
            guard let first = try await tasks.next(), let result = first else {
                tasks.cancelAll()
                throw Interrupted()
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            return result
        }
    }

    /// A signal came before the end.
    struct Interrupted: Error {}
}
