import Millrace
import MillraceTestSupport
import Postgres
import Synchronization
import Testing

/// What a reader hands out.
private final class Gathered: Sendable {
    private let batches = Mutex<[[Int64]]>([])
    var ids: [Int64] { batches.withLock { $0.flatMap(\.self) } }
    var sizes: [Int] { batches.withLock { $0.map(\.count) } }
    func add(_ batch: EventBatch) { batches.withLock { $0.append(batch.events.map(\.eventID)) } }
}

@Suite(.serialized) struct ReaderTests {
    @Test(arguments: PostgresCluster.Tier.allCases)
    func eventsComeAsTheyAreWritten(tier: PostgresCluster.Tier) async throws {
        let fixture = try await EventFixture(tier)
        try await fixture.submit(20)
        let gathered = Gathered()
        let reader = EventReader(
            fixture.database, subscription: "s", configuration: fixture.reading, logger: EventFixture.quiet
        )
        try await reader.run {
            for await batch in reader.batches {
                gathered.add(batch)
                reader.delivered(batch)
                if gathered.ids.count == 20 { try await fixture.submit(30) }
                if gathered.ids.count == 50 { return }
            }
        }
        #expect(gathered.ids == (try await fixture.ids()))
        // The position was stored at the end.
        #expect(try await fixture.psql("SELECT lag_events FROM millrace.subscriptions") == "0")
    }

    @Test func readingWaitsForWhoDoesNotTake() async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(200)
        var configuration = fixture.reading
        (configuration.readSize, configuration.capacity, configuration.batchSize) = (10, 30, 7)
        let reader = EventReader(
            fixture.database, subscription: "s", configuration: configuration, logger: EventFixture.quiet
        )
        let gathered = Gathered()
        try await reader.run {
            try await eventually("the buffer is full") { reader.buffered == 30 }
            for await batch in reader.batches {
                #expect(batch.events.count <= 7 && reader.buffered <= 30)
                gathered.add(batch)
                reader.delivered(batch)
                if gathered.ids.count == 200 { return }
            }
        }
        #expect(gathered.ids == (try await fixture.ids()))
    }

    @Test func aBatchWaitsForOthersUntilItIsFull() async throws {
        let fixture = try await EventFixture(.dispatcher)
        try await fixture.submit(25)
        var configuration = fixture.reading
        (configuration.batchSize, configuration.flushDelay) = (10, .seconds(3600))
        let reader = EventReader(
            fixture.database, subscription: "s", configuration: configuration, logger: EventFixture.quiet
        )
        let gathered = Gathered()
        try await reader.run {
            for await batch in reader.batches {
                gathered.add(batch)
                reader.delivered(batch)
                if gathered.sizes.count == 2 { try await fixture.submit(5) }
                if gathered.sizes.count == 3 { return }
            }
        }
        #expect(gathered.sizes == [10, 10, 10])
    }

    /// What retention does to a subscription that lags is in the extension's own tests.
    @Test func readingGoesOnBehindAGap() async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(10)
        let gathered = Gathered()
        let reader = EventReader(
            fixture.database, subscription: "s", configuration: fixture.reading, logger: EventFixture.quiet
        )
        try await reader.run {
            for await batch in reader.batches {
                gathered.add(batch)
                reader.delivered(batch)
                if gathered.ids.count == 10 {
                    try await fixture.psql(
                        "UPDATE millrace_internal.subscription SET (overtaken_from, overtaken_to, overtaken_at) = (1, 5, now())"
                    )
                    try await fixture.submit(10)
                }
                if gathered.ids.count == 20 { return }
            }
        }
        #expect(gathered.ids == (try await fixture.ids()))
        #expect(try await fixture.psql("SELECT overtaken_at IS NULL FROM millrace.subscriptions") == "t")
    }

    @Test func whatIsNotDeliveredComesAgain() async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(10)
        let ids = try await fixture.ids()
        struct Broken: Error {}
        for _ in 1...2 {
            let gathered = Gathered()
            await #expect(throws: Broken.self) {
                try await EventReader.with(fixture.database, subscription: "s", logger: EventFixture.quiet) { reader in
                    for await batch in reader.batches {
                        gathered.add(batch)
                        throw Broken()
                    }
                }
            }
            #expect(gathered.ids == ids)
        }
    }

    @Test(arguments: PostgresCluster.Tier.allCases, [PostgresCluster.StopMode.fast, .immediate])
    func aRestartedServerRepeatsNothing(tier: PostgresCluster.Tier, mode: PostgresCluster.StopMode) async throws {
        try await PostgresCluster.with(tier) { cluster in
            let fixture = try await EventFixture(in: cluster)
            try await fixture.submit(100)
            var configuration = fixture.reading
            // Nothing is stored before the restart, so that all is read again.
            configuration.storeInterval = .seconds(1000)
            let reader = EventReader(
                fixture.database, subscription: "s", configuration: configuration, logger: EventFixture.quiet
            )
            let gathered = Gathered()
            try await reader.run {
                for await batch in reader.batches {
                    let before = gathered.ids.count
                    gathered.add(batch)
                    reader.delivered(batch)
                    if before < 100, gathered.ids.count >= 100 {
                        try await cluster.restart(mode)
                        try await fixture.submit(50)
                    }
                    if gathered.ids.count == 150 { return }
                }
            }
            #expect(gathered.ids == (try await fixture.ids()))
            try await fixture.eventuallyStored()
        }
    }

    @Test func aSubscriptionThatDoesNotExist() async throws {
        let fixture = try await EventFixture(.plain)
        do {
            try await EventReader.with(fixture.database, subscription: "t", logger: EventFixture.quiet) { reader in
                for await _ in reader.batches {}
            }
            Issue.record("it was read")
        } catch let error as MillraceError {
            #expect(error.code == .unknownSubscription)
        }
    }

    @Test func settingsThatCannotWork() async throws {
        var configuration = EventReader.Configuration()
        configuration.capacity = 10
        #expect(throws: MillraceError.self) { try configuration.check() }
    }
}
