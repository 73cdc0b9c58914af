/// A condition over the run's input and the needs' outputs: a JSONPath predicate.
indirect enum PathPredicate: Hashable, LogicExpression {
    case constant(Bool)
    /// Predicate text that needs no parentheses in a conjunction.
    case test(String)
    case all([PathPredicate])
    case any([PathPredicate])
    case not(PathPredicate)

    var simplified: PathPredicate {
        switch self {
        case .constant, .test: return self
        case .not(let inner):
            if case .constant(let value) = inner.simplified { return .constant(!value) }
            return .not(inner.simplified)
        case .all(let parts): return Self.joined(parts, neutral: true)
        case .any(let parts): return Self.joined(parts, neutral: false)
        }
    }

    private static func joined(_ parts: [PathPredicate], neutral: Bool) -> PathPredicate {
        var kept: [PathPredicate] = []
        for part in parts.map(\.simplified) {
            switch (part, neutral) {
            case (.constant(let value), _): if value != neutral { return part }
            case (.all(let inner), true), (.any(let inner), false): kept += inner
            default: kept.append(part)
            }
        }
        return kept.isEmpty ? .constant(neutral) : kept.count == 1 ? kept[0] : neutral ? .all(kept) : .any(kept)
    }

    /// Conditions that are all required.
    var conditions: [String] {
        switch simplified {
        case .constant(true): []
        case .all(let parts): parts.map(\.text)
        case let other: [other.text]
        }
    }

    private var text: String {
        switch self {
        case .constant(let value): value ? "1 == 1" : "1 == 0"
        case .test(let text): text
        case .all(let parts): parts.map { $0.enclosed }.joined(separator: " && ")
        case .any(let parts): parts.map { $0.enclosed }.joined(separator: " || ")
        case .not(let inner): "!(\(inner.text))"
        }
    }

    private var enclosed: String {
        switch self {
        case .all, .any: "(\(text))"
        default: text
        }
    }
}

/// JSONPath text.
enum JSONPathText {
    /// `$.needs.build.tag`; names that are no identifiers in quotes.
    static func path(_ parts: some Sequence<String>) -> String {
        parts.reduce(into: "$") { path, part in path += "." + member(part) }
    }

    static func member(_ name: String) -> String {
        let isIdentifier =
            !name.isEmpty && !("0"..."9").contains(name.unicodeScalars.first!)
            && name.unicodeScalars.allSatisfy {
                $0 == "_" || ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
            }
        return isIdentifier ? name : JSONValue.string(name).json
    }

    /// A literal: text, number, truth value or null.
    static func literal(_ value: JSONValue) -> String { value.json }

    /// The text in a regular expression that means just it.
    static func escaped(_ text: String) -> String {
        text.reduce(into: "") { escaped, character in
            if "\\^$.|?*+()[]{}".contains(character) { escaped.append("\\") }
            escaped.append(character)
        }
    }
}
