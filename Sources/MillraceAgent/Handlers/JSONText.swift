import Foundation

/// Text from outside on its way into JSON.
enum JSONText {
    /// Bytes as text that PostgreSQL can store: what is no UTF-8, and NUL characters, become U+FFFD.
    static func repaired(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        return text.utf8.contains(0) ? text.replacing("\0", with: "\u{FFFD}") : text
    }

    static func isJSON(_ text: String) -> Bool {
        // Most text that is no JSON is told apart by its first character.
        guard let first = text.utf8.first, Self.beginnings.contains(first) else { return false }
        return (try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)) != nil
    }

    private static let beginnings = Set(#"{["-0123456789tfn"#.utf8)
}
