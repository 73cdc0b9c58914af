import AsyncHTTPClient
import Foundation
import Millrace

/// `http`: makes one request.
///
/// `with: {url, method, headers, body, timeout, expect, max_response_bytes, artifact}`. The body defaults to the step's input as
/// JSON (none for GET and HEAD), `expect` to 200–299. A response that is JSON is the output; other text becomes
/// `{"status": number, "body": text}`. Any other status, a timeout or a broken connection fails the step (classes
/// `http:STATUS`, `http:timeout`, `http:connection`), which its `retry` policy may try again; so a request may reach
/// the server more than once, and should carry a key of its own. With `artifact: name` the response, of whatever
/// size, is kept as an artifact of the step, and the output is `{"status", "artifact", "bytes", "sha256"}`.
///
/// A batch is one request, whose body defaults to the array of its steps' inputs. The response is an array with an object
/// for each step, `{"output": value}` or `{"error": text, "fatal": true or false}`, or is empty.
public struct HTTPHandler: BatchHandler {
    /// The bound on a response's body when the definition sets none. Past it the step fails.
    public var maxResponseBytes: Int
    /// How long a whole exchange may take when the definition does not say.
    public var timeout: Duration

    public init(maxResponseBytes: Int = 1 << 20, timeout: Duration = .seconds(60)) {
        self.maxResponseBytes = maxResponseBytes
        self.timeout = timeout
    }

    /// The pool of connections, for the life of the process. Connecting is not tried again here: `retry` says whether.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration.singletonConfiguration
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }()

    public func run(_ step: StepContext) async throws -> Output {
        let settings: HTTPSettings = try step.sharedSettings()
        let (status, text) = try await request(settings, input: step.rawInput, of: step)
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        if JSONText.isJSON(trimmed) { return .json(trimmed) }
        return try .encoding(TextResponse(status: status, body: text))
    }

    public func run(_ batch: [StepContext]) async throws -> [Result<Output, any Error>] {
        let settings: HTTPSettings = try batch[0].settings()
        guard settings.artifact == nil else {
            throw HandlerError.fatal("http: a batch has one response, which is no step's artifact.", errorClass: "settings")
        }
        let input = Array("[".utf8) + batch.inputs(separator: ",") + Array("]".utf8)
        let (_, text) = try await request(settings, input: input, of: batch[0])
        return try BatchAnswer.results(text, steps: batch.count, from: "http: \(settings.place())")
    }

    /// - Returns: the status, one that was expected, and the response's body.
    private func request(
        _ settings: HTTPSettings,
        input: [UInt8]?,
        of step: StepContext
    ) async throws -> (status: Int, text: String) {
        let place = try settings.place()
        var request = HTTPClientRequest(url: settings.url)
        request.method = .init(rawValue: settings.method)
        for (name, value) in settings.headers { request.headers.replaceOrAdd(name: name, value: value) }
        if let body = try settings.body(orInput: input) {
            request.body = .bytes(body)
            if !request.headers.contains(name: "content-type") {
                request.headers.add(name: "content-type", value: "application/json")
            }
        }
        let timeout = settings.timeout.map { Duration.seconds($0) } ?? timeout
        do {
            return try await exchange(request, settings: settings, place: place, timeout: timeout, step: step)
        } catch let error as HTTPClientError {
            try Task.checkCancellation()
            throw HandlerError.retriable(
                "http: \(place) \(Self.explanation(of: error, timeout: timeout))",
                errorClass: Self.isTimeout(error) ? "http:timeout" : "http:connection"
            )
        } catch let error where !(error is HandlerError || error is MillraceError) {
            try Task.checkCancellation()
            throw HandlerError.retriable(
                "http: \(place) could not be reached, or broke off: \(error)",
                errorClass: "http:connection"
            )
        }
    }

    private func exchange(
        _ request: HTTPClientRequest,
        settings: HTTPSettings,
        place: String,
        timeout: Duration,
        step: StepContext
    ) async throws -> (status: Int, text: String) {
        let deadline = ContinuousClock.now + timeout
        let response = try await Self.client.execute(request, timeout: .init(timeout))
        let status = Int(response.status.code)
        if let name = settings.artifact, settings.expects(status) {
            return (status, try await withDeadline(deadline) { try await keep(response, as: name, of: step) })
        }
        let limit = settings.maxResponseBytes ?? maxResponseBytes
        let body = try await withDeadline(deadline) {
            var body: [UInt8] = []
            for try await chunk in response.body {
                guard body.count + chunk.readableBytes <= limit else {
                    throw HandlerError.fatal(
                        "http: \(place) answered with more than \(limit) bytes. "
                            + "Ask for less, or raise max_response_bytes.",
                        errorClass: "http:too_large"
                    )
                }
                body.append(contentsOf: chunk.readableBytesView)
            }
            return body
        }
        let text = JSONText.repaired(body)
        guard settings.expects(status) else {
            throw HandlerError.retriable(
                "http: \(place) answered \(status)\(Self.excerpt(text))",
                errorClass: "http:\(status)"
            )
        }
        return (status, text)
    }

    /// - Returns: what the step's output says of it.
    private func keep(
        _ response: HTTPClientResponse,
        as name: String,
        of step: StepContext
    ) async throws -> String {
        let stored = try await step.store(
            artifact: name,
            type: response.headers.first(name: "content-type"),
            response.body.map { $0.readableBytesView }
        )
        let output = KeptResponse(
            status: Int(response.status.code),
            artifact: name,
            bytes: stored.bytes,
            sha256: stored.sha256
        )
        return try Output.encoding(output).json ?? ""
    }

    private struct KeptResponse: Encodable {
        var status: Int
        var artifact: String
        var bytes: Int64
        var sha256: String
    }

    private struct TextResponse: Encodable {
        var status: Int
        var body: String
    }

    private static func isTimeout(_ error: HTTPClientError) -> Bool {
        [.deadlineExceeded, .readTimeout, .writeTimeout, .connectTimeout].contains(error)
    }

    private static func explanation(of error: HTTPClientError, timeout: Duration) -> String {
        switch error {
        case _ where isTimeout(error): "did not answer within \(timeout)."
        case .remoteConnectionClosed: "closed the connection before it had answered."
        default: "failed: \(error)"
        }
    }

    private static func excerpt(_ text: String) -> String {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        return text.isEmpty ? "." : ": \(text.prefix(500))"
    }
}

/// Runs `body`, which is cancelled when the deadline passes.
private func withDeadline<Value: Sendable>(
    _ deadline: ContinuousClock.Instant,
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        defer { group.cancelAll() }
        group.addTask(operation: body)
        group.addTask {
            try await Task.sleep(until: deadline)
            throw HTTPClientError.deadlineExceeded
        }
        return try await group.next()!
    }
}
