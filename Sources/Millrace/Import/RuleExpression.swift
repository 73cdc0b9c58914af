/// A rule over the ends of needs, as the definition language writes it.
indirect enum RuleExpression: Hashable {
    enum State: String {
        case completed, failed, skipped, cancelled, done
    }

    case constant(Bool)
    case term(String, State)
    case all([RuleExpression])
    case any([RuleExpression])
    case not(RuleExpression)

    static func && (left: RuleExpression, right: RuleExpression) -> RuleExpression { .all([left, right]) }
    static func || (left: RuleExpression, right: RuleExpression) -> RuleExpression { .any([left, right]) }
    static prefix func ! (expression: RuleExpression) -> RuleExpression { .not(expression) }

    /// Without constants, with nothing twice, and flat.
    var simplified: RuleExpression {
        switch self {
        case .constant, .term: return self
        case .not(let inner):
            switch inner.simplified {
            case .constant(let value): return .constant(!value)
            case .not(let inner): return inner
            case let inner: return .not(inner)
            }
        case .all(let parts): return Self.joined(parts, neutral: true)
        case .any(let parts): return Self.joined(parts, neutral: false)
        }
    }

    private static func joined(_ parts: [RuleExpression], neutral: Bool) -> RuleExpression {
        var kept: [RuleExpression] = []
        var seen: Set<RuleExpression> = []
        for part in parts.map(\.simplified) {
            let flat: [RuleExpression] =
                switch (part, neutral) {
                case (.constant(let value), _): value == neutral ? [] : [part]
                case (.all(let inner), true), (.any(let inner), false): inner
                default: [part]
                }
            for part in flat {
                if case .constant = part { return part }
                if seen.insert(part).inserted { kept.append(part) }
            }
        }
        return kept.isEmpty ? .constant(neutral) : kept.count == 1 ? kept[0] : neutral ? .all(kept) : .any(kept)
    }

    /// The needs that it looks at, in the order of the text.
    var keys: [String] {
        switch self {
        case .constant: []
        case .term(let key, _): [key]
        case .all(let parts), .any(let parts): parts.flatMap(\.keys)
        case .not(let inner): inner.keys
        }
    }

    var text: String {
        switch self {
        case .constant(let value): value ? "true" : "false"
        case .term(let key, let state): "\(Self.quoted(key)).\(state.rawValue)"
        case .all(let parts): parts.map { $0.isAny ? "(\($0.text))" : $0.text }.joined(separator: " && ")
        case .any(let parts): parts.map { $0.isAll ? "(\($0.text))" : $0.text }.joined(separator: " || ")
        case .not(let inner): inner.isAll || inner.isAny ? "!(\(inner.text))" : "!\(inner.text)"
        }
    }

    private var isAll: Bool { if case .all = self { true } else { false } }
    private var isAny: Bool { if case .any = self { true } else { false } }

    /// A key of letters, digits, `_` and `-` stands as it is.
    private static func quoted(_ key: String) -> String {
        let isPlain = key.unicodeScalars.allSatisfy {
            $0 == "_" || $0 == "-" || $0.isASCII && $0.properties.isAlphabetic || ("0"..."9").contains($0)
        }
        return isPlain && !key.isEmpty ? key : "\"\(key)\""
    }
}

extension RuleExpression {
    /// The number of its terms, or the bound where it has more.
    func size(upTo limit: Int) -> Int {
        switch self {
        case .constant: return 0
        case .term: return 1
        case .not(let inner): return inner.size(upTo: limit)
        case .all(let parts), .any(let parts):
            var size = 0
            for part in parts {
                size += part.size(upTo: limit - size)
                if size >= limit { return limit }
            }
            return size
        }
    }
}

extension ImportedStep {
    /// Sets the rule by which the step starts, as short as it can be said, and adds what it looks at to the needs.
    ///
    /// - Returns: Whether it can hold at all.
    mutating func setRule(_ expression: RuleExpression) -> Bool {
        let expression = expression.simplified
        need(expression.keys)
        rule = nil
        switch expression {
        case .constant(let value):
            if value && !needs.isEmpty { rule = "all_done" }
            return value
        case _ where expression == .all(needs.map { .term($0, .completed) }).simplified:
            return true
        case .all(let parts) where Set(parts) == Set(needs.map { .term($0, .completed) }):
            return true
        default:
            rule = expression.text
            return true
        }
    }
}

enum StepKey {
    /// A key of 1 to 200 bytes without control characters, and without the quotation marks around keys in rules.
    static func valid(_ text: String) -> String {
        var key = String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 == "\"" ? "'" : $0 }
            )
        )
        while key.utf8.count > 200 { key.removeLast() }
        return key.isEmpty ? "_" : key
    }

    /// The key, with a number behind it where it is taken.
    static func unique(_ text: String, among taken: Set<String>) -> String {
        let key = valid(text)
        guard taken.contains(key) else { return key }
        for number in 2... {
            let suffix = " #\(number)"
            var numbered = key
            while numbered.utf8.count + suffix.utf8.count > 200 { numbered.removeLast() }
            numbered += suffix
            if !taken.contains(numbered) { return numbered }
        }
        return key
    }
}
