import Foundation

/// What a step hands on.
public struct Output: Sendable, Hashable {
    enum Content: Sendable, Hashable {
        case json(String?)
        case settled
    }

    let content: Content

    /// No output; those that need this step see null.
    public static let none = Output(content: .json(nil))

    /// The handler has completed the step in the database itself, so that there is nothing to report.
    package static let settled = Output(content: .settled)

    /// The output as JSON text, if there is any.
    public var json: String? {
        guard case .json(let json) = content else { return nil }
        return json
    }

    /// JSON text. The database checks it: what is no JSON, or too large, fails the step.
    public static func json(_ text: String) -> Output { Output(content: .json(text)) }

    /// A value as JSON.
    public static func encoding(_ value: some Encodable) throws -> Output {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        do {
            return .json(String(decoding: try encoder.encode(value), as: UTF8.self))
        } catch {
            throw HandlerError.fatal("The output (\(type(of: value))) cannot be written as JSON: \(error)")
        }
    }
}
