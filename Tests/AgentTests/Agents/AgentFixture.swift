import Foundation
import Logging
import Millrace
import MillraceAgent
import MillraceTestSupport
import Postgres
import ServiceLifecycle
import Synchronization
import Testing

/// A database with the extension, and what tests of agents do in it.
struct AgentFixture: Sendable {
    let cluster: PostgresCluster
    let database: PostgresConfiguration

    /// A database of its own in a cluster that the tests of a tier share.
    init(_ tier: PostgresCluster.Tier) async throws {
        try await self.init(in: SharedClusters.cluster(tier))
    }

    init(in cluster: PostgresCluster) async throws {
        self.cluster = cluster
        database = try await cluster.createDatabase(extension: true)
    }

    @discardableResult
    func psql(_ sql: String) async throws -> String {
        try await cluster.psql(sql, database: database.database ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Defines workflow `w` and submits runs of it.
    func submit(_ steps: String, input: String = "{}", runs: Int = 1) async throws -> [Int64] {
        let definition = #"{"workflow": "w", "steps": \#(steps)}"#
        try await psql("SELECT FROM millrace.define_workflow($q$\(definition)$q$)")
        return try await psql("SELECT millrace.submit('w', $q$\(input)$q$) FROM generate_series(1, \(runs))")
            .split(separator: "\n").map { try #require(Int64($0)) }
    }

    func state(of run: Int64) async throws -> String {
        try await psql("SELECT state FROM millrace.runs WHERE run_id = \(run)")
    }

    /// A column of the view `steps`.
    func step(_ column: String, _ key: String, of run: Int64) async throws -> String {
        try await psql("SELECT \(column) FROM millrace.steps WHERE run_id = \(run) AND key = '\(key)'")
    }

    func eventuallyEnds(_ runs: [Int64], as state: String) async throws {
        let list = runs.map(String.init).joined(separator: ",")
        try await eventually("runs end as \(state)", within: .seconds(60)) {
            try await psql("SELECT count(*) FROM millrace.runs WHERE run_id IN (\(list)) AND state = '\(state)'")
                == "\(runs.count)"
        }
    }

    /// How often each step was completed: at most once, whatever happened.
    func completions(of run: Int64) async throws -> String {
        try await psql(
            "SELECT count(*), count(DISTINCT step_no) FROM millrace.events WHERE run_id = \(run) AND kind = 'step_completed'"
        )
    }

    func agent(
        handlers: Handlers = .standard,
        logLevel: Logger.Level = .critical,
        journal: Journal? = nil,
        _ configure: (inout AgentConfiguration) -> Void = { _ in }
    ) -> Agent {
        var configuration = AgentConfiguration()
        configuration.concurrency.total = 8
        configuration.pool.max = 6
        configuration.reconnect.max = .milliseconds(200)
        configure(&configuration)
        var logger = Logger(label: "agent")
        if let journal { logger = Logger(label: "agent") { _ in journal } } else { logger.logLevel = logLevel }
        return Agent(configuration: configuration, handlers: handlers, database: database, logger: logger)
    }

    /// Runs agents while `body` goes on, then stops them gracefully.
    func with(_ agents: Agent..., body: (ServiceGroup) async throws -> Void) async throws {
        let services = ServiceGroup(services: agents, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await services.run() }
        do {
            try await body(services)
        } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
        await services.triggerGracefulShutdown()
        try await running.value
    }
}

/// Keeps what an agent has logged as an error.
struct Journal: LogHandler {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private let lines = Lines()
    var logLevel = Logger.Level.error
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    var errors: [String] { lines.all.withLock { $0 } }

    func log(event: LogEvent) {
        lines.all.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") }
    }
}
