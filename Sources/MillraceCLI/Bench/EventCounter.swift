import Foundation
import Glibc
import Hummingbird
import Logging
import Millrace
import NIOCore
import Synchronization

/// An HTTP server on loopback that counts the events of CloudEvents batches.
final class EventCounter: Sendable {
    private struct State {
        var ids: [Int64] = []
        var arrivals: [Arrival] = []
        var bytes = 0
        var lastArrival: ContinuousClock.Instant?
        var clock = EventTime()
    }

    /// In seconds since 1970.
    private struct Arrival {
        var id: Int64
        /// The event's own time.
        var at: Double
        var arrivedAt: Double
    }

    let url: String
    private let state: Mutex<State>
    private let keepsTimes: Bool
    private let server: Mutex<Task<Void, any Error>?>

    private init(port: Int, keepsTimes: Bool) {
        url = "http://127.0.0.1:\(port)/events"
        self.keepsTimes = keepsTimes
        state = Mutex(State())
        server = Mutex(nil)
    }

    /// - Parameter keepsTimes: Whether ``latencies(since:)`` is to be known.
    static func start(keepsTimes: Bool) async throws -> EventCounter {
        let (ports, announce) = AsyncStream.makeStream(of: Int.self)
        let router = Router()
        let box = Mutex<EventCounter?>(nil)
        router.post("events") { request, _ -> HTTPResponse.Status in
            let body = try await request.body.collect(upTo: 1 << 28)
            try box.withLock { $0 }?.take(body)
            return .noContent
        }
        // That connections break off when the server is stopped is no news.
        var logger = Logger(label: "millrace.bench")
        logger.logLevel = .critical
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in announce.yield(channel.localAddress?.port ?? 0) },
            logger: logger
        )
        // Ended by `stop`.
        let running = Task {
            defer { announce.finish() }
            try await application.run()
        }
        for await port in ports {
            let counter = EventCounter(port: port, keepsTimes: keepsTimes)
            box.withLock { $0 = counter }
            counter.server.withLock { $0 = running }
            return counter
        }
        try await running.value
        throw MillraceError(.unexpectedAnswer, "The server for events did not start.")
    }

    func stop() async {
        let running = server.withLock { $0 }
        running?.cancel()
        _ = await running?.result
    }

    var count: Int { state.withLock { $0.ids.count } }
    /// Of all bodies, as they came.
    var bytes: Int { state.withLock { $0.bytes } }
    var lastArrival: ContinuousClock.Instant? { state.withLock { $0.lastArrival } }
    var repeated: Int { state.withLock { $0.ids.count - Set($0.ids).count } }

    /// Of all events that have arrived.
    var range: ClosedRange<Int64>? {
        state.withLock { state in
            guard let least = state.ids.min(), let greatest = state.ids.max() else { return nil }
            return least...greatest
        }
    }

    /// How old each event was when it arrived: since its commit, where that is known, else since its own time.
    func latencies(since commits: [Int64: Double]) -> LatencyRecorder {
        let recorder = LatencyRecorder()
        for arrival in state.withLock({ $0.arrivals }) {
            recorder.record(seconds: arrival.arrivedAt - (commits[arrival.id] ?? arrival.at))
        }
        return recorder
    }

    /// - Throws: Where nothing more comes.
    func waitFor(_ events: Int) async throws {
        let began = ContinuousClock.now
        while count < events {
            let quietSince = max(lastArrival ?? began, began)
            guard ContinuousClock.now - quietSince < Self.patience else {
                throw MillraceError(.unexpectedAnswer, "\(count) events arrived instead of \(events), and no more.")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// How long nothing may arrive while something is to come: longer than the publisher waits before it tries again.
    private static let patience = Duration.seconds(60)

    /// - Throws: Where other events came than were written.
    func check(_ events: Int) throws {
        let found = state.withLock { Set($0.ids).count }
        guard found == events else {
            throw MillraceError(.unexpectedAnswer, "\(found) events arrived instead of \(events).")
        }
    }

    private func take(_ body: ByteBuffer) throws {
        let events = try Gzip.decompress([UInt8](buffer: body))
        let now = Date().timeIntervalSince1970
        state.withLock { state in
            state.bytes += body.readableBytes
            state.lastArrival = .now
            events.withUnsafeBytes { events in
                var rest = events[...]
                while let id = Self.field(#""id":""#, &rest), let time = Self.field(#""time":""#, &rest) {
                    let id = id.reduce(0) { $0 * 10 + Int64($1) - 0x30 }
                    state.ids.append(id)
                    if keepsTimes, let at = state.clock.seconds(time) {
                        state.arrivals.append(Arrival(id: id, at: at, arrivedAt: now))
                    }
                }
            }
        }
    }

    /// The text behind a name, up to its quotation mark. The publisher writes the same fields in the same order always.
    private static func field(_ name: StaticString, _ rest: inout Text) -> Text? {
        let length = name.utf8CodeUnitCount
        while let quote = rest.firstIndex(of: UInt8(ascii: "\"")), quote + length < rest.endIndex {
            if memcmp(rest.base.baseAddress! + quote, name.utf8Start, length) == 0 {
                let text = rest[(quote + length)...]
                guard let end = text.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
                rest = rest[end...]
                return text[..<end]
            }
            rest = rest[(quote + 1)...]
        }
        return nil
    }
}

private typealias Text = Slice<UnsafeRawBufferPointer>

/// Reads the times of events; those of one second are read once.
private struct EventTime {
    private static let length = 19
    private var second: [UInt8] = []
    private var secondsOfSecond = 0.0

    /// `2026-11-21T14:36:00.123456Z`, since 1970.
    mutating func seconds(_ text: Text) -> Double? {
        guard text.count == Self.length + 8 else { return nil }
        if !text.prefix(Self.length).elementsEqual(second) {
            let whole = String(decoding: text.prefix(Self.length), as: UTF8.self) + "Z"
            guard let date = try? Date(whole, strategy: .iso8601) else { return nil }
            second = Array(text.prefix(Self.length))
            secondsOfSecond = date.timeIntervalSince1970
        }
        let micros = text.dropFirst(Self.length + 1).prefix(6).reduce(0) { $0 * 10 + Int($1) - 0x30 }
        return secondsOfSecond + Double(micros) / 1e6
    }
}
