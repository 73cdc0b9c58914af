import AsyncHTTPClient
import Foundation
import Millrace
import NIOCore
import NIOHTTP1
import Synchronization

/// Posts batches of CloudEvents to an HTTP endpoint.
///
/// Any 2xx means delivered. 408, 429, 5xx and an endpoint that cannot be reached or does not answer in time are tried
/// again, no sooner than `Retry-After` says; every other status is final.
public final class HTTPSink: EventSink {
    public struct Configuration: Sendable {
        /// `http://` or `https://`. User and password in it become an `Authorization` header.
        public var url: String
        /// Sent with each request. Never logged.
        public var headers: [String: String] = [:]
        /// The CloudEvents attribute `source`.
        public var source: String
        /// Whether bodies are packed with gzip.
        public var compresses = true
        /// How long a whole exchange may take.
        public var timeout = Duration.seconds(30)

        public init(url: String, source: String) {
            self.url = url
            self.source = source
        }
    }

    public let place: String
    private let url: String
    private let headers: HTTPHeaders
    private let compresses: Bool
    private let timeout: Duration
    private let client: HTTPClient
    private let encoder: Mutex<Encoder>

    private struct Encoder: ~Copyable {
        var writer: CloudEventWriter
        let gzip = GzipCompressor()

        mutating func body(_ events: [Event], compressed: Bool) -> [UInt8] {
            writer.removeAll()
            writer.array(events)
            return compressed ? gzip.compress(writer.bytes) : writer.bytes
        }
    }

    /// - Throws: ``SinkError`` for an address or a header that cannot work.
    public init(_ configuration: Configuration) throws {
        let endpoint = try Endpoint(configuration)
        place = endpoint.place
        url = endpoint.url
        headers = endpoint.headers
        compresses = configuration.compresses
        timeout = configuration.timeout
        encoder = Mutex(Encoder(writer: CloudEventWriter(source: configuration.source)))
        var client = HTTPClient.Configuration(redirectConfiguration: .disallow)
        client.connectionPool.retryConnectionEstablishment = false
        self.client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: client)
    }

    public func deliver(_ events: [Event]) async throws {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        request.headers = headers
        request.body = .bytes(encoder.withLock { $0.body(events, compressed: compresses) })
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, timeout: .init(timeout))
            // To the end, so that the connection can be used again; nobody needs more of it.
            for try await _ in response.body {}
        } catch {
            try Task.checkCancellation()
            throw SinkError("\(place) could not be reached, or broke off: \(explanation(of: error))", isRetriable: true)
        }
        try judge(response)
    }

    public func close() async {
        try? await client.shutdown()
    }

    private func judge(_ response: HTTPClientResponse) throws(SinkError) {
        switch response.status.code {
        case 200..<300: return
        case 408, 429, 500...:
            throw SinkError(
                "\(place) answered \(response.status.code).",
                isRetriable: true,
                retryAfter: RetryAfter.pause(response.headers.first(name: "retry-after"), now: Date())
            )
        case 413:
            throw SinkError("\(place) answered 413: the batch is too large for it. Send smaller ones.", isRetriable: false)
        case 415:
            throw SinkError(
                "\(place) answered 415: it does not read CloudEvents batches, or not when they are packed with gzip.",
                isRetriable: false
            )
        default:
            throw SinkError("\(place) answered \(response.status.code): it refuses the events.", isRetriable: false)
        }
    }

    private func explanation(of error: any Error) -> String {
        switch error as? HTTPClientError {
        case .deadlineExceeded, .readTimeout, .writeTimeout, .connectTimeout: "no answer within \(timeout)"
        case .remoteConnectionClosed: "the connection was closed"
        default: "\(error)"
        }
    }
}

/// A sink's address, apart from what must not be shown.
private struct Endpoint {
    let url: String
    let place: String
    var headers: HTTPHeaders = [
        "content-type": "application/cloudevents-batch+json; charset=UTF-8",
        "user-agent": "millrace/\(MillraceVersion.current)",
    ]

    init(_ configuration: HTTPSink.Configuration) throws(SinkError) {
        guard var parts = URLComponents(string: configuration.url), let scheme = parts.scheme?.lowercased(),
            ["http", "https"].contains(scheme), let host = parts.host, !host.isEmpty
        else { throw SinkError("The sink is no http:// or https:// address.", isRetriable: false) }
        if configuration.compresses { headers.add(name: "content-encoding", value: "gzip") }
        if let user = parts.user {
            let credentials = Data("\(user):\(parts.password ?? "")".utf8).base64EncodedString()
            headers.add(name: "authorization", value: "Basic \(credentials)")
        }
        for (name, value) in configuration.headers {
            guard Self.isHeader(name, value) else {
                throw SinkError("A header for the sink has characters that no header may have.", isRetriable: false)
            }
            headers.replaceOrAdd(name: name, value: value)
        }
        (parts.user, parts.password, parts.fragment) = (nil, nil, nil)
        url = parts.string ?? configuration.url
        parts.query = nil
        place = parts.string ?? scheme
    }

    private static func isHeader(_ name: String, _ value: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ":") }
            && !value.utf8.contains { $0 == 0 || $0 == 0x0a || $0 == 0x0d }
    }
}

/// The header `Retry-After`: seconds, or a date.
package enum RetryAfter {
    /// Nobody is left alone for longer.
    static let longest = Duration.seconds(3600)

    package static func pause(_ header: String?, now: Date) -> Duration? {
        guard let header else { return nil }
        if let seconds = Int(header) { return min(.seconds(max(0, seconds)), longest) }
        guard let date = try? Date(header, strategy: httpDate) else { return nil }
        return min(.seconds(max(0, date.timeIntervalSince(now))), longest)
    }

    private static let httpDate = Date.ParseStrategy(
        format: """
            \(weekday: .abbreviated), \(day: .twoDigits) \(month: .abbreviated) \(year: .defaultDigits) \
            \(hour: .twoDigits(clock: .twentyFourHour, hourCycle: .zeroBased)):\(minute: .twoDigits):\(second: .twoDigits) \
            GMT
            """,
        locale: Locale(identifier: "en_US_POSIX"),
        timeZone: .gmt
    )
}
