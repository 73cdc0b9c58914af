import Foundation
import Millrace

/// What a program or a server answers to a batch: for each step an object, `{"output": value}`, or `{"error": text}`
/// with `"fatal": true` where no other try can help, and with the `"class"` of the failure where `retry` asks for it.
struct BatchAnswer: Decodable {
    private var output: JSONValue?
    private var error: String?
    private var fatal: Bool?
    private var errorClass: String?

    private enum CodingKeys: String, CodingKey {
        case output, error, fatal
        case errorClass = "class"
    }

    private var result: Result<Output, any Error> {
        if let error { return .failure(HandlerError(error, isRetriable: fatal != true, errorClass: errorClass)) }
        return .success(output.map { .json($0.json) } ?? .none)
    }

    /// - Parameter texts: an object each, or nothing at all, which completes every step without an output.
    static func results(_ texts: [String], steps: Int, from sender: String) throws -> [Result<Output, any Error>] {
        if texts.isEmpty { return Array(repeating: .success(.none), count: steps) }
        guard texts.count == steps else {
            throw HandlerError.fatal("\(sender) answered \(texts.count) results for a batch of \(steps).")
        }
        return try texts.map { text in try decode(Self.self, text, from: sender).result }
    }

    /// - Parameter text: a JSON array of such objects, or nothing but white space.
    static func results(_ text: String, steps: Int, from sender: String) throws -> [Result<Output, any Error>] {
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !trimmed.isEmpty else { return try results([], steps: steps, from: sender) }
        let answers = try decode([Self].self, trimmed, from: sender)
        guard answers.count == steps else {
            throw HandlerError.fatal("\(sender) answered \(answers.count) results for a batch of \(steps).")
        }
        return answers.map(\.result)
    }

    private static func decode<Value: Decodable>(_ type: Value.Type, _ text: String, from sender: String) throws
        -> Value
    {
        do {
            return try JSONDecoder().decode(type, from: Data(text.utf8))
        } catch {
            throw HandlerError.fatal(
                "\(sender) answered a batch with something else than {\"output\": …} or {\"error\": …} for each step: "
                    + text.prefix(200)
            )
        }
    }
}

extension [StepContext] {
    /// The inputs of a batch as JSON, each between `separator`s; null where a step has none.
    func inputs(separator: String) -> [UInt8] {
        Array<UInt8>(map { $0.rawInput ?? Array<UInt8>("null".utf8) }.joined(separator: Array<UInt8>(separator.utf8)))
    }
}
