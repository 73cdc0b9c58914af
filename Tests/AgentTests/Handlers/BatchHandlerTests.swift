import Foundation
import Logging
import Millrace
import MillraceAgent
import MillraceTestSupport
import Testing

/// What handlers make of the steps of a batch.
@Suite struct BatchHandlerTests {
    private func run(
        _ handler: any BatchHandler,
        with settings: String = "{}",
        inputs: [String?]
    ) async throws -> [Result<Output, any Error>] {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let steps = inputs.enumerated().map { index, input in
            StepContext(
                work: Work(
                    handOut: HandOut(runID: Int64(index), stepNo: 1, token: 1),
                    handler: "any",
                    settings: Array(settings.utf8),
                    input: input.map { Array($0.utf8) },
                    batch: 1
                ),
                logger: logger
            )
        }
        return try await handler.run(steps)
    }

    /// Outputs and errors in words.
    private func words(_ results: [Result<Output, any Error>]) -> [String] {
        results.map { result in
            switch result {
            case .success(let output): output.json ?? "none"
            case .failure(let error as HandlerError):
                [error.isRetriable ? "retriable" : "fatal", error.errorClass, error.message].compactMap { $0 }
                    .joined(separator: " ")
            case .failure(let error): "\(error)"
            }
        }
    }

    private func error(
        _ handler: any BatchHandler,
        with settings: String,
        inputs: [String?]
    ) async throws -> HandlerError {
        try #require(
            await #expect(throws: HandlerError.self) { try await run(handler, with: settings, inputs: inputs) }
        )
    }

    private func script(_ text: String) -> String { #"{"command": \#(quoted(text))}"# }

    // MARK: shell

    @Test func aProgramReadsALineForEachStepAndWritesOne() async throws {
        let text = #"while read -r line; do echo "{\"output\": $line}"; done"#
        let results = try await run(ShellHandler(), with: script(text), inputs: [#"{"to": 1}"#, nil, "3"])
        #expect(words(results) == [#"{"to":1}"#, "none", "3"])
    }

    @Test func stepsOfAProgramFailOneByOne() async throws {
        let lines = [
            #"{"output": 1}"#, "{}", #"{"error": "busy"}"#, #"{"error": "gone", "fatal": true, "class": "smtp:550"}"#,
        ]
        let text = "cat > /dev/null; " + lines.map { "echo '\($0)'" }.joined(separator: "; ")
        let results = try await run(ShellHandler(), with: script(text), inputs: ["1", "2", "3", "4"])
        #expect(words(results) == ["1", "none", "retriable busy", "fatal smtp:550 gone"])
    }

    @Test func aProgramThatWritesNothingCompletesAll() async throws {
        let results = try await run(ShellHandler(), with: script("cat > /dev/null"), inputs: ["1", "2"])
        #expect(words(results) == ["none", "none"])
    }

    @Test func aProgramThatFailsFailsAll() async throws {
        let error = try await error(ShellHandler(), with: script("echo no >&2; exit 3"), inputs: ["1", "2"])
        #expect(error.errorClass == "exit:3")
        #expect(error.isRetriable)
    }

    @Test(arguments: [#"echo '{"output": 1}'"#, #"echo 1; echo 2"#, #"echo '[]'; echo '{}'"#])
    func otherAnswersOfAProgramAreRefused(text: String) async throws {
        let error = try await error(ShellHandler(), with: script(text), inputs: ["1", "2"])
        #expect(!error.isRetriable)
        #expect(error.message.hasPrefix("shell: /bin/sh answered"))
    }

    // MARK: http

    @Test func aServerGetsAnArrayAndAnswersOne() async throws {
        try await MoodyServer.use { url in
            let inputs = [#"{"output": {"a": 1}}"#, "{}", #"{"error": "no", "fatal": true}"#]
            let results = try await run(HTTPHandler(), with: #"{"url": "\#(url)/echo"}"#, inputs: inputs)
            #expect(words(results) == [#"{"a":1}"#, "none", "fatal no"])
        }
    }

    @Test func aServerThatAnswersNothingCompletesAll() async throws {
        try await MoodyServer.use { url in
            let results = try await run(HTTPHandler(), with: #"{"url": "\#(url)/status/204"}"#, inputs: ["1", "2"])
            #expect(words(results) == ["none", "none"])
        }
    }

    @Test func otherAnswersOfAServerAreRefused() async throws {
        try await MoodyServer.use { url in
            let settings = #"{"url": "\#(url)/echo", "body": "hello"}"#
            let error = try await error(HTTPHandler(), with: settings, inputs: ["1", "2"])
            #expect(!error.isRetriable)
            #expect(error.message.hasPrefix("http: POST \(url)/echo answered a batch with something else"))
        }
    }

    @Test func anotherStatusFailsAll() async throws {
        try await MoodyServer.use { url in
            let error = try await error(HTTPHandler(), with: #"{"url": "\#(url)/status/503"}"#, inputs: ["1", "2"])
            #expect(error.isRetriable)
            #expect(error.errorClass == "http:503")
        }
    }
}
