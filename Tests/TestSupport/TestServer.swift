import Hummingbird
import Logging
import NIOCore

/// Answers requests of tests over HTTP, on a port of this machine, until it is stopped or the process ends.
public struct TestServer: Sendable {
    public let port: Int
    private let serving: Task<Void, any Error>

    /// - Parameter port: Where to; 0 for one that is free.
    public init(_ router: Router<BasicRequestContext>, port: Int = 0) async throws {
        let (ports, announce) = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { channel in announce.yield(channel.localAddress?.port ?? 0) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        serving = Task {
            defer { announce.finish() }
            try await application.run()
        }
        guard let port = await ports.first(where: { _ in true }) else {
            try await serving.value
            throw TestSupportError("The server has ended before it served.")
        }
        self.port = port
    }

    /// Goes away at once, with its connections.
    public func stop() async {
        serving.cancel()
        _ = await serving.result
    }
}
