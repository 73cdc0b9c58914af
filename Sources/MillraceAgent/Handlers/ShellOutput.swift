import Foundation
import Subprocess

/// What a program wrote to standard output, and how it becomes a step's output.
enum ShellOutput {
    /// Reads up to `limit` bytes; no more than that is ever held.
    static func read(
        _ stream: SubprocessOutputSequence,
        limit: Int
    ) async throws -> (output: [UInt8], isTooLong: Bool) {
        var output: [UInt8] = []
        for try await chunk in stream {
            guard output.count + chunk.count <= limit else { return (output, true) }
            chunk.withUnsafeBytes { output.append(contentsOf: $0) }
        }
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

    init(reading stream: SubprocessOutputSequence) async throws {
        for try await chunk in stream {
            chunk.withUnsafeBytes { bytes.append(contentsOf: $0) }
            if bytes.count > Self.limit {
                bytes.removeFirst(bytes.count - Self.limit)
                isCut = true
            }
        }
    }

    /// To be put behind a sentence about the program.
    var explanation: String {
        let text = JSONText.repaired(bytes).trimmingCharacters(in: .whitespacesAndNewlines)
        if text.isEmpty { return "; it wrote nothing to standard error." }
        return "; standard error \(isCut ? "ends" : "says"): \(text)"
    }
}
