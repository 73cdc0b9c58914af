import Logging
import ServiceLifecycle
import Synchronization

/// Something that leaves things behind unless it is told to stop: a signal cancels it, and it cleans up.
struct Interruptible<Value: Sendable>: Service {
    private let body: @Sendable () async throws -> Value
    private let ended: Ended

    private final class Ended: Sendable {
        let value = Mutex<Value?>(nil)
    }

    /// - Throws: what `body` throws, and `CancellationError` where a signal came first.
    static func run(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let service = Interruptible(body: body, ended: Ended())
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                cancellationSignals: [.sigint, .sigterm],
                logger: Logger(label: "millrace")
            )
        )
        try await group.run()
        guard let value = service.ended.value.withLock({ $0 }) else { throw CancellationError() }
        return value
    }

    func run() async throws {
        let value = try await body()
        ended.value.withLock { $0 = value }
    }
}
