import Hummingbird
import MillraceTestSupport
import NIOCore

/// A real server with several ways to misbehave.
enum MoodyServer {
    /// Runs `body` with the server's address.
    static func use(_ body: (String) async throws -> Void) async throws {
        let port = try await port.value
        try await body("http://127.0.0.1:\(port)")
    }

    /// One server for all tests; it ends with the process, so that no test has to take it down under the others.
    private static let port = Task { try await TestServer(router()).port }

    private static func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.on("echo", method: .post) { request, _ in
            Response(status: .ok, body: .init(byteBuffer: try await request.body.collect(upTo: 1 << 20)))
        }
        router.get("text") { _, _ in "hello" }
        router.post("status/:status") { _, context in
            let status = try context.parameters.require("status", as: Int.self)
            return Response(
                status: .init(code: status),
                body: status == 204 ? .init() : .init(byteBuffer: ByteBuffer(string: "it is \(status)"))
            )
        }
        router.post("hang") { _, _ -> String in
            try await Task.sleep(for: .seconds(1000))
            return ""
        }
        router.post("trickle") { _, _ in
            Response(
                status: .ok,
                body: .init { writer in
                    try await writer.write(ByteBuffer(string: "begin"))
                    try await Task.sleep(for: .seconds(1000))
                    try await writer.finish(nil)
                }
            )
        }
        router.post("endless") { _, _ in
            Response(
                status: .ok,
                body: .init { writer in
                    while !Task.isCancelled { try await writer.write(ByteBuffer(repeating: 0x20, count: 1 << 14)) }
                    try await writer.finish(nil)
                }
            )
        }
        router.post("garbage") { _, _ in
            Response(status: .ok, body: .init(byteBuffer: ByteBuffer(bytes: [0x61, 0xff, 0x62, 0])))
        }
        return router
    }
}
