import Foundation
import Millrace
import Subprocess

/// What a program wrote to standard output, and how it becomes a step's output.
enum ShellOutput {
    /// Reads up to `limit` bytes; no more than that is ever held. Lines go to the step's log as they come.
    static func read(
        _ stream: SubprocessOutputSequence,
        limit: Int,
        log: StepLog
    ) async throws -> (output: [UInt8], isTooLong: Bool) {
        var output: [UInt8] = []
        var log = log
        for try await chunk in stream {
            chunk.withUnsafeBytes { log.write($0) }
            guard output.count + chunk.count <= limit else { return (output, true) }
            chunk.withUnsafeBytes { output.append(contentsOf: $0) }
        }
        log.end()
        return (output, false)
    }

    /// JSON as it is; other text as `{"stdout": text}`; nothing as no output.
    static func output(of bytes: [UInt8]) throws -> Output {
        let text = JSONText.repaired(bytes)
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        if trimmed.isEmpty { return .none }
        return JSONText.isJSON(trimmed) ? .json(trimmed) : try .encoding(["stdout": text])
    }
}

/// The end of standard error, for the step's error message.
struct OutputTail: Sendable {
    static let limit = 2048

    private var bytes: [UInt8] = []
    private var isCut = false

    init(reading stream: SubprocessOutputSequence, log: StepLog) async throws {
        var log = log
        for try await chunk in stream {
            chunk.withUnsafeBytes { chunk in
                log.write(chunk)
                bytes.append(contentsOf: chunk)
            }
            if bytes.count > Self.limit {
                bytes.removeFirst(bytes.count - Self.limit)
                isCut = true
            }
        }
        log.end()
    }

    /// To be put behind a sentence about the program.
    var explanation: String {
        let text = JSONText.repaired(bytes).trimmingCharacters(in: .whitespacesAndNewlines)
        if text.isEmpty { return "; it wrote nothing to standard error." }
        return "; standard error \(isCut ? "ends" : "says"): \(text)"
    }
}

/// One stream of a program on its way into the log of its step.
struct StepLog: Sendable {
    let step: StepContext
    let stream: StepLogLine.Stream
    private var splitter = LineSplitter()

    init(_ stream: StepLogLine.Stream, of step: StepContext) {
        self.step = step
        self.stream = stream
    }

    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        for line in splitter.take(bytes) { step.write(line, stream) }
    }

    mutating func end() {
        if let line = splitter.finish() { step.write(line, stream) }
    }
}
