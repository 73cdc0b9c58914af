import Foundation
import MillraceAgent
import Testing

@Suite struct HTTPHandlerTests {
    let http = HTTPHandler()

    @Test func jsonIsTheOutputAndTheInputIsTheBody() async throws {
        try await MoodyServer.use { url in
            let output = try await run(http, with: #"{"url": "\#(url)/echo"}"#, input: #"{"order": 7}"#)
            #expect(output == .json(#"{"order": 7}"#))
        }
    }

    @Test func otherTextComesWithItsStatus() async throws {
        try await MoodyServer.use { url in
            let output = try await run(http, with: #"{"url": "\#(url)/text", "method": "GET"}"#)
            #expect(try Text(output) == Text(status: 200, body: "hello"))
        }
    }

    @Test func headersAndBodyCanBeSet() async throws {
        try await MoodyServer.use { url in
            let settings = #"{"url": "\#(url)/echo", "headers": {"content-type": "text/csv"}, "body": "[1]"}"#
            let output = try await run(http, with: settings, input: "{}")
            #expect(output == .json("[1]"))
        }
    }

    @Test func anAnswerWithoutBodyIsText() async throws {
        try await MoodyServer.use { url in
            let output = try await run(http, with: #"{"url": "\#(url)/status/204"}"#)
            #expect(try Text(output) == Text(status: 204, body: ""))
        }
    }

    // MARK: Failures

    @Test(arguments: [500, 503, 404]) func anotherStatusFailsTheStep(status: Int) async throws {
        try await MoodyServer.use { url in
            let error = try await failure(of: http, with: #"{"url": "\#(url)/status/\#(status)?key=secret"}"#)
            #expect(error.isRetriable)
            #expect(error.errorClass == "http:\(status)")
            #expect(error.message == "http: POST \(url)/status/\(status) answered \(status): it is \(status)")
        }
    }

    @Test func anExpectedStatusIsNone() async throws {
        try await MoodyServer.use { url in
            let output = try await run(http, with: #"{"url": "\#(url)/status/404", "expect": [404]}"#)
            #expect(try Text(output) == Text(status: 404, body: "it is 404"))
        }
    }

    @Test func aServerThatHangsTimesOut() async throws {
        try await MoodyServer.use { url in
            let error = try await failure(of: http, with: #"{"url": "\#(url)/hang", "timeout": 0.05}"#)
            #expect(error.isRetriable)
            #expect(error.message.contains("did not answer within"))
        }
    }

    @Test func aServerThatHangsInTheMiddleTimesOut() async throws {
        try await MoodyServer.use { url in
            let error = try await failure(of: http, with: #"{"url": "\#(url)/trickle", "timeout": 0.2}"#)
            #expect(error.message.contains("did not answer within"))
        }
    }

    @Test func aStoppedStepLetsGoOfTheServer() async throws {
        try await MoodyServer.use { url in
            let step = Task { try await run(http, with: #"{"url": "\#(url)/hang"}"#) }
            try await Task.sleep(for: .milliseconds(1))
            step.cancel()
            await #expect(throws: CancellationError.self) { try await step.value }
        }
    }

    @Test func aResponseThatIsTooLongFailsTheStep() async throws {
        try await MoodyServer.use { url in
            let error = try await failure(of: http, with: #"{"url": "\#(url)/endless", "max_response_bytes": 100000}"#)
            #expect(error.message.contains("more than 100000 bytes"))
        }
    }

    @Test func bytesThatAreNoTextAreRepaired() async throws {
        try await MoodyServer.use { url in
            let output = try await run(http, with: #"{"url": "\#(url)/garbage"}"#)
            #expect(try Text(output).body == "a\u{FFFD}b\u{FFFD}")
        }
    }

    @Test func nobodyListens() async throws {
        let error = try await failure(of: http, with: #"{"url": "http://127.0.0.1:1/"}"#)
        #expect(error.isRetriable)
        #expect(error.message.contains("POST http://127.0.0.1:1/"))
    }

    @Test(arguments: [RawServer.Manner.reset, .garbage, .closed]) func brokenServersFailTheStep(
        manner: RawServer.Manner
    ) async throws {
        let server = try RawServer(manner)
        let error = try await failure(of: http, with: #"{"url": "http://127.0.0.1:\#(server.port)/", "timeout": 30}"#)
        #expect(error.isRetriable)
        #expect(error.message.contains("127.0.0.1"))
    }

    @Test(arguments: [
        "{}", #"{"url": "ftp://example"}"#, #"{"url": "no url"}"#, #"{"url": "http://x", "timeout": -1}"#,
        #"{"url": "http://x", "headers": {"a": "b\r\nc: d"}}"#, #"{"url": "http://x", "method": "GE T"}"#,
    ])
    func badSettingsFailForGood(settings: String) async throws {
        #expect(try await !failure(of: http, with: settings).isRetriable)
    }

    /// An output that was no JSON.
    private struct Text: Decodable, Equatable {
        var status: Int
        var body: String

        init(status: Int, body: String) {
            self.status = status
            self.body = body
        }

        init(_ output: Output) throws {
            self = try JSONDecoder().decode(Text.self, from: Data(try #require(output.json).utf8))
        }
    }
}
