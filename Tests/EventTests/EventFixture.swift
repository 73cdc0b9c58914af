import Foundation
import Logging
import Millrace
import MillraceEvents
import MillraceTestSupport
import Postgres
import ServiceLifecycle

/// A database with the extension, a workflow `w`, and a subscription `s` from the beginning.
struct EventFixture: Sendable {
    let cluster: PostgresCluster
    let database: PostgresConfiguration

    /// A database of its own in a cluster that the tests of a tier share.
    init(_ tier: PostgresCluster.Tier) async throws {
        try await self.init(in: SharedClusters.cluster(tier))
    }

    init(in cluster: PostgresCluster) async throws {
        self.cluster = cluster
        database = try await cluster.createDatabase(extension: true)
        try await psql(
            """
            SELECT FROM millrace.define_workflow('{"workflow": "w", "steps": [{"key": "a", "handler": "noop"}]}');
            SELECT FROM millrace.subscribe('s', 'beginning')
            """
        )
    }

    @discardableResult
    func psql(_ sql: String) async throws -> String {
        try await cluster.psql(sql, database: database.database ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Submits runs, each with a transaction and an event of its own.
    func submit(_ runs: Int, _ arguments: String = "'w'") async throws {
        try await psql("DO $$BEGIN FOR i IN 1..\(runs) LOOP PERFORM millrace.submit(\(arguments)); COMMIT; END LOOP; END$$")
    }

    /// The ids of all events that a condition holds for.
    func ids(where condition: String = "true") async throws -> [Int64] {
        try await psql("SELECT event_id FROM millrace.events WHERE \(condition) ORDER BY event_id")
            .split(separator: "\n").compactMap { Int64($0) }
    }

    /// Waits until the subscription has nothing left to read.
    func eventuallyStored(_ name: String = "s") async throws {
        try await eventually("all is stored as delivered") {
            try await psql("SELECT lag_events FROM millrace.subscriptions WHERE name = '\(name)'") == "0"
        }
    }

    var reading: EventReader.Configuration {
        var configuration = EventReader.Configuration()
        configuration.reconnect.max = .milliseconds(200)
        configuration.storeInterval = .milliseconds(50)
        return configuration
    }

    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    func publisher(
        to sink: any EventSink,
        _ configure: (inout EventReader.Configuration) -> Void = { _ in }
    ) -> EventPublisher {
        var configuration = reading
        configure(&configuration)
        return EventPublisher(
            database,
            subscription: "s",
            sink: sink,
            configuration: configuration,
            backOff: BackOff(first: .milliseconds(10), max: .milliseconds(100)),
            logger: Self.quiet
        )
    }

    /// Runs a service while `body` goes on, then stops it gracefully.
    func with(_ service: any Service, _ body: () async throws -> Void) async throws {
        let services = ServiceGroup(services: [service], logger: Self.quiet)
        let running = Task { try await services.run() }
        do {
            try await body()
        } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
        await services.triggerGracefulShutdown()
        try await running.value
    }
}
