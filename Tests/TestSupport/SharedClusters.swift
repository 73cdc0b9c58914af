/// One cluster for each tier, for as long as the tests run.
public enum SharedClusters {
    private static let plain = Task { try await start(.plain) }
    private static let dispatcher = Task { try await start(.dispatcher) }

    private static func start(_ tier: PostgresCluster.Tier) async throws -> PostgresCluster {
        // On the dispatcher tier each database takes two workers, and none is dropped before the end.
        let cluster = try await PostgresCluster.start(tier, settings: ["max_worker_processes": "256"])
        // The first database makes the roles that all of them share.
        _ = try await cluster.createDatabase(extension: true)
        return cluster
    }

    public static func cluster(_ tier: PostgresCluster.Tier) async throws -> PostgresCluster {
        switch tier {
        case .plain: try await plain.value
        case .dispatcher: try await dispatcher.value
        }
    }
}
