import Hummingbird
import NIOCore
import Synchronization

/// Keeps in memory what agents store over HTTP.
public final class TestStore: Sendable {
    private let kept = Mutex<[String: ByteBuffer]>([:])

    /// How many bytes each of the things has that are kept, in no order.
    public var sizes: [Int] { kept.withLock { $0.values.map(\.readableBytes) } }

    /// Runs `body` with a store and its address, while it serves.
    public static func use(_ body: (_ store: TestStore, _ url: String) async throws -> Void) async throws {
        let store = TestStore()
        let server = try await TestServer(store.router())
        do {
            try await body(store, "http://127.0.0.1:\(server.port)/kept")
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    private func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.put("kept/:name") { [self] request, context in
            let name = try context.parameters.require("name")
            let body = try await request.body.collect(upTo: 1 << 24)
            kept.withLock { $0[name] = body }
            return Response(status: .created)
        }
        router.get("kept/:name") { [self] _, context in
            let name = try context.parameters.require("name")
            guard let body = kept.withLock({ $0[name] }) else { throw HTTPError(.notFound) }
            return Response(status: .ok, body: .init(byteBuffer: body))
        }
        return router
    }
}
