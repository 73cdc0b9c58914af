import Foundation

/// What is wrong with a JSON text, in words a person can use.
enum JSONProblem {
    static func describe(_ error: any Error, in utf8: Data) -> String {
        switch error as? DecodingError {
        case .dataCorrupted(let context):
            return path(context.codingPath) + (syntax(utf8) ?? context.debugDescription)
        case .keyNotFound(let key, let context):
            return path(context.codingPath) + "\"\(key.stringValue)\" is missing."
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return path(context.codingPath) + context.debugDescription
        default:
            return "\(error)"
        }
    }

    /// The decoder does not say where the syntax is wrong; the older parser does, as "around character 15".
    private static func syntax(_ utf8: Data) -> String? {
        do {
            _ = try JSONSerialization.jsonObject(with: utf8, options: .fragmentsAllowed)
            return nil
        } catch {
            guard let text = (error as NSError).userInfo[NSDebugDescriptionErrorKey] as? String else { return nil }
            guard let place = text.firstMatch(of: /^(.*) around character ([0-9]+)\.$/), let offset = Int(place.2)
            else {
                return text
            }
            let before = utf8.prefix(offset)
            let line = before.count { $0 == UInt8(ascii: "\n") } + 1
            let column = before.reversed().prefix { $0 != UInt8(ascii: "\n") }.count + 1
            return "\(place.1) at line \(line), column \(column)."
        }
    }

    private static func path(_ path: [any CodingKey]) -> String {
        guard !path.isEmpty else { return "" }
        return path.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        } + ": "
    }
}
