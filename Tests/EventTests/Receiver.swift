import Foundation
import Hummingbird
import Millrace
import MillraceTestSupport
import NIOCore
import Synchronization

/// A real endpoint for batches of CloudEvents, that can misbehave, be killed and come back.
final class Receiver: Sendable {
    enum Answer: Sendable {
        case status(Int, retryAfter: String? = nil)
        /// Keeps the request, until it is told to answer otherwise.
        case silence
    }

    struct Received: Sendable, Hashable {
        var id: Int64
        var run: Int64
        var type: String
        var workflow: String
        var tenant: String
        /// Of the step; nil where the event is of the run as a whole.
        var key: String?
    }

    private struct State {
        var answer = Answer.status(204)
        var received: [Received] = []
        var batches: [Int] = []
        var requests = 0
        var headers: [String: String] = [:]
        var server: TestServer?
    }

    private let state = Mutex(State())

    var url: String { "http://127.0.0.1:\(state.withLock { $0.server?.port ?? 0 })/events" }
    var received: [Received] { state.withLock { $0.received } }
    var ids: [Int64] { received.map(\.id) }
    /// The sizes of the batches that were taken.
    var batches: [Int] { state.withLock { $0.batches } }
    /// Taken or not.
    var requests: Int { state.withLock { $0.requests } }
    /// Of the last request.
    var headers: [String: String] { state.withLock { $0.headers } }

    func answer(_ answer: Answer) { state.withLock { $0.answer = answer } }

    /// Runs `body` while it serves.
    static func use(_ body: (Receiver) async throws -> Void) async throws {
        let receiver = Receiver()
        try await receiver.start()
        do {
            try await body(receiver)
        } catch {
            await receiver.stop()
            throw error
        }
        await receiver.stop()
    }

    /// Serves, on the port that it had before.
    func start() async throws {
        let server = try await TestServer(router(), port: state.withLock { $0.server?.port ?? 0 })
        state.withLock { $0.server = server }
    }

    /// Goes away at once, with its connections.
    func stop() async { await state.withLock { $0.server }?.stop() }

    private func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.post("events") { [self] request, _ in
            let headers = Dictionary(
                request.headers.map { ($0.name.canonicalName, $0.value) },
                uniquingKeysWith: { $1 }
            )
            let body = [UInt8](buffer: try await request.body.collect(upTo: 1 << 26))
            state.withLock { state in
                state.requests += 1
                state.headers = headers
            }
            while case .silence = state.withLock({ $0.answer }) { try await Task.sleep(for: .milliseconds(10)) }
            guard case .status(let status, let retryAfter) = state.withLock({ $0.answer }) else { throw HTTPError(.conflict) }
            if status < 300 {
                let events = try Self.events(headers["content-encoding"] == "gzip" ? Gzip.decompress(body) : body)
                state.withLock { state in
                    state.received += events
                    state.batches.append(events.count)
                }
            }
            var response = Response(status: .init(code: status))
            if let retryAfter { response.headers[.retryAfter] = retryAfter }
            return response
        }
        return router
    }

    static func events(_ body: [UInt8]) throws -> [Received] {
        guard let objects = try JSONSerialization.jsonObject(with: Data(body)) as? [[String: Any]] else {
            throw TestSupportError("no batch")
        }
        return try objects.map(event)
    }

    static func event(_ object: [String: Any]) throws -> Received {
        guard let id = (object["id"] as? String).flatMap({ Int64($0) }), let type = object["type"] as? String,
            let data = object["data"] as? [String: Any], let run = data["run_id"] as? Int,
            let workflow = data["workflow"] as? String, let tenant = data["tenant"] as? String
        else { throw TestSupportError("no event: \(object)") }
        return Received(id: id, run: Int64(run), type: type, workflow: workflow, tenant: tenant, key: data["key"] as? String)
    }
}
