import Logging
import Millrace
import Postgres
import ServiceLifecycle

/// Delivers the events of a subscription to a sink, in order, at least once.
///
/// ```swift
/// let sink = try HTTPSink(.init(url: "https://events.internal/millrace", source: "/millrace/app"))
/// let publisher = EventPublisher(database, subscription: "audit", sink: sink)
/// ```
///
/// Run it in a service group, beside an agent or alone. A sink that refuses for a while is tried again with growing
/// pauses, while reading waits for it; a sink that refuses for good ends it.
public final class EventPublisher: Service, Sendable {
    private let sink: any EventSink
    private let reader: EventReader
    private let database: PostgresConfiguration
    private let start: EventStart?
    private let backOff: BackOff
    private let logger: Logger
    private let metrics: EventPublisherMetrics

    /// - Parameters:
    ///   - start: Where to begin if the subscription does not exist yet; nil: it must exist.
    ///   - backOff: The pauses between tries to deliver a batch.
    public init(
        _ database: PostgresConfiguration,
        subscription: String,
        from start: EventStart? = nil,
        sink: any EventSink,
        configuration: EventReader.Configuration = .init(),
        backOff: BackOff = BackOff(max: .seconds(30)),
        logger: Logger = Logger(label: "millrace.events")
    ) {
        self.database = database
        self.start = start
        self.sink = sink
        self.backOff = backOff
        self.logger = logger
        metrics = EventPublisherMetrics(subscription: subscription)
        reader = EventReader(
            database,
            subscription: subscription,
            configuration: configuration,
            logger: logger,
            beforeStoring: { try await sink.flush() }
        )
    }

    /// Publishes until a graceful shutdown or cancellation. At the end a batch under way is given its grace period.
    ///
    /// - Throws: ``SinkError`` of a sink that refuses, ``MillraceError`` of a database that does.
    public func run() async throws {
        do {
            try await publish()
        } catch {
            await sink.close()
            throw error
        }
        await sink.close()
    }

    private func publish() async throws {
        if let start { try await subscribe(from: start) }
        logger.info("Publishing.", metadata: metadata())
        try await reader.run { try await self.deliverAll() }
        logger.info("Publishing has ended.", metadata: metadata())
    }

    private func subscribe(from start: EventStart) async throws {
        try await Client.with(database, connections: 1) { client in
            if try await client.subscribe(reader.subscription, from: start) {
                logger.info("The subscription is new.", metadata: metadata(["start": "\(start)"]))
            }
        }
    }

    private func deliverAll() async throws {
        for await batch in reader.batches {
            guard try await deliver(batch) else { return }
            reader.delivered(batch)
        }
    }

    /// - Returns: Whether it was delivered, before the end.
    private func deliver(_ batch: EventBatch) async throws -> Bool {
        var failures = 0
        while true {
            let begin = ContinuousClock.now
            do {
                try await sink.deliver(batch.events)
                metrics.delivered(batch.events, in: ContinuousClock.now - begin)
                if failures > 0 { logger.info("The sink takes events again.", metadata: metadata()) }
                return true
            } catch let error as SinkError where error.isRetriable {
                failures += 1
                metrics.retried()
                let pause = max(error.retryAfter ?? .zero, backOff.delay(attempt: failures))
                logger.log(
                    level: failures == 1 ? .warning : .debug,
                    "The sink did not take events; trying again.",
                    metadata: metadata([
                        "error": "\(error)", "events": "\(batch.events.count)", "pause_seconds": "\(pause.inSeconds)",
                    ])
                )
                guard await reader.pause(for: pause) else { return false }
            }
        }
    }

    private func metadata(_ more: Logger.Metadata = [:]) -> Logger.Metadata {
        more.merging(["subscription": "\(reader.subscription)", "sink": "\(sink.place)"]) { $1 }
    }
}
