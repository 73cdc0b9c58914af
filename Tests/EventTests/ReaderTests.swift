import Millrace
import MillraceTestSupport
import Postgres
import Synchronization
import Testing

/// What a reader hands out.
private final class Gathered: Sendable {
    private let state = Mutex<[Int64]>([])
    var ids: [Int64] { state.withLock { $0 } }
    func add(_ batch: EventBatch) { state.withLock { $0 += batch.events.map(\.eventID) } }
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
