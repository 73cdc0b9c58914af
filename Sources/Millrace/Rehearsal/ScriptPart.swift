import Foundation

/// A value of a script and its place in it, so that what is wrong can be named.
struct ScriptPart {
    var value: JSONValue
    var place: String

    init(_ value: JSONValue, at place: String) throws(MillraceError) {
        self.value = value
        self.place = place
    }

    private init(value: JSONValue, place: String) {
        self.value = value
        self.place = place
    }

    func wrong(_ what: String) -> MillraceError {
        MillraceError(.malformed, "\(place.isEmpty ? "The script" : place) \(what).")
    }

    var isArray: Bool { if case .array = value { true } else { false } }

    var text: String {
        get throws(MillraceError) {
            guard let text = value.text else { throw wrong("is not a text") }
            return text
        }
    }

    var elements: [ScriptPart] {
        get throws(MillraceError) {
            guard case .array(let elements) = value else { throw wrong("is not an array") }
            return elements.enumerated().map { ScriptPart(value: $1, place: "\(place)[\($0)]") }
        }
    }

    /// The members of an object, whatever their names.
    var all: [String: ScriptPart] {
        get throws(MillraceError) {
            guard case .object(let members) = value else { throw wrong("is not an object") }
            return Dictionary(uniqueKeysWithValues: members.map { ($0, member($0, $1)) })
        }
    }

    /// The members of an object that has no others than these.
    func members(_ known: [String]) throws(MillraceError) -> [String: ScriptPart] {
        let members = try all
        for name in members.keys.sorted() where !known.contains(name) {
            throw MillraceError(
                .malformed,
                "\(members[name]!.place): there is no such key.",
                hint: "Known keys: \(known.joined(separator: ", "))."
            )
        }
        return members
    }

    private func member(_ name: String, _ value: JSONValue) -> ScriptPart {
        ScriptPart(value: value, place: place.isEmpty ? name : "\(place).\(name)")
    }

    /// A number of seconds, or a text such as `500ms`, `2s`, `5m`, `3h`.
    var seconds: Double {
        get throws(MillraceError) {
            switch value {
            case .integer(let count) where count >= 0: return Double(count)
            case .number(let count) where count >= 0: return count
            case .string(let text):
                if let duration = Duration(text: text) { return duration.seconds }
                throw wrong("is not an interval")
            default: throw wrong("is not an interval")
            }
        }
    }

    var date: Date {
        get throws(MillraceError) {
            let text = try text
            if let date = try? Date(text, strategy: .iso8601) { return date }
            throw wrong("is not a time such as 2030-01-01T08:00:00Z")
        }
    }
}
