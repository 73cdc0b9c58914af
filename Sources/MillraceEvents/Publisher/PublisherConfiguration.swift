import Configuration
import Foundation
import Logging
import Millrace
import Postgres

/// What to publish and where to. docs/events.md lists every setting with its name in files, in the environment and as a
/// flag.
public struct PublisherConfiguration: Sendable {
    /// Where events go.
    public enum Destination: Sendable, Hashable {
        case endpoint(url: String)
        case file(path: String)
        case output

        /// `http://…` and `https://…`, `file:PATH`, `-` for standard output.
        public init?(_ text: String) {
            if text == "-" {
                self = .output
            } else if text.hasPrefix("file:") {
                self = .file(path: String(text.dropFirst(5)))
            } else if text.hasPrefix("http://") || text.hasPrefix("https://") {
                self = .endpoint(url: text)
            } else {
                return nil
            }
        }
    }

    public var subscription: String
    public var destination: Destination
    /// Where to begin if the subscription does not exist yet; nil: it must exist.
    public var start: EventStart?
    /// The CloudEvents attribute `source`. Default: `/millrace/` and the database's name.
    public var source: String?
    /// Sent to an endpoint with each request. Never logged.
    public var headers: [String: String] = [:]
    /// Whether what is sent to an endpoint is packed with gzip.
    public var compresses = true
    /// How long an endpoint may take to answer.
    public var timeout = Duration.seconds(30)
    public var reading = EventReader.Configuration()
    /// The pauses between tries to deliver a batch.
    public var backOff = BackOff(max: .seconds(30))

    public init(subscription: String, to destination: Destination) {
        self.subscription = subscription
        self.destination = destination
    }

    /// A publisher with the sink that this describes.
    public func publisher(_ database: PostgresConfiguration, logger: Logger) throws -> EventPublisher {
        EventPublisher(
            database,
            subscription: subscription,
            from: start,
            sink: try sink(database),
            configuration: reading,
            backOff: backOff,
            logger: logger
        )
    }

    private func sink(_ database: PostgresConfiguration) throws -> any EventSink {
        let name = (database.database ?? "").addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? ""
        let source = source ?? "/millrace/\(name)"
        switch destination {
        case .output: return OutputSink(source: source)
        case .file(let path): return try FileSink(path: path, source: source)
        case .endpoint(let url):
            var configuration = HTTPSink.Configuration(url: url, source: source)
            configuration.headers = headers
            configuration.compresses = compresses
            configuration.timeout = timeout
            return try HTTPSink(configuration)
        }
    }
}

extension PublisherConfiguration {
    /// Reads the settings under `publish` from flags, environment or files, whatever `reader` stands for; nil where they
    /// name no subscription.
    public init?(reader: ConfigReader) throws {
        let publish = reader.scoped(to: "publish")
        guard let subscription = publish.string(forKey: "subscription") else { return nil }
        let to = publish.string(forKey: "to", isSecret: true) ?? ""
        guard let destination = Destination(to) else {
            throw MillraceError(
                .malformed,
                "The setting publish.to names no place for events.",
                hint: "Write http://… or https://…, file:PATH, or - for standard output."
            )
        }
        self.init(subscription: subscription, to: destination)
        start = publish.string(forKey: "from").map { EventStart($0) }
        source = publish.string(forKey: "source")
        compresses = publish.bool(forKey: "compress", default: compresses)
        timeout = try publish.duration("timeout", default: timeout)
        headers = try publish.string(forKey: "headerFile").map(Self.headers(ofFile:)) ?? [:]
        if let authorization = publish.string(forKey: "authorization", isSecret: true) {
            headers["Authorization"] = authorization
        }
        reading.batchSize = publish.int(forKey: "batchSize", default: reading.batchSize)
        reading.flushDelay = try publish.duration("flushDelay", default: reading.flushDelay)
        reading.filter = EventFilter(
            kinds: try Set(publish.stringArray(forKey: "kinds", default: []).map(EventKind.init(checking:))),
            workflows: Set(publish.stringArray(forKey: "workflows", default: [])),
            tenants: Set(publish.stringArray(forKey: "tenants", default: []))
        )
        // Room for a batch that is being filled, beside one that is read.
        reading.capacity = max(reading.capacity, 2 * reading.batchSize + reading.readSize)
        try reading.check()
    }

    /// A header a line, `Name: value`; empty lines and those that begin with # are skipped.
    private static func headers(ofFile path: String) throws -> [String: String] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw MillraceError(.unreadable, "\(path): The file of headers cannot be read.")
        }
        var headers: [String: String] = [:]
        for (number, line) in String(decoding: data, as: UTF8.self).split(separator: "\n").enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            // What the line says stays unsaid: it may be a secret.
            guard let colon = line.firstIndex(of: ":") else {
                throw MillraceError(.malformed, "\(path): Line \(number + 1) is no header; write Name: value.")
            }
            let name = line[..<colon].trimmingCharacters(in: .whitespaces)
            headers[name] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return headers
    }
}

extension EventKind {
    init(checking name: String) throws(MillraceError) {
        guard let kind = EventKind(rawValue: name) else {
            throw MillraceError(
                .malformed,
                "There are no events of kind \"\(name)\".",
                hint: "The kinds are \(Self.allCases.map(\.rawValue).joined(separator: ", "))."
            )
        }
        self = kind
    }
}

extension ConfigReader {
    fileprivate func duration(_ key: ConfigKey, default fallback: Duration) throws(MillraceError) -> Duration {
        guard let text = string(forKey: key) else { return fallback }
        guard let duration = Duration(text: text) else {
            throw MillraceError(
                .malformed,
                "The setting publish.\(key) is \"\(text)\"; write a duration such as 250ms, 10s, 5m or 1h."
            )
        }
        return duration
    }
}
