/// A `when` of Argo: `{{tasks.flip.outputs.result}} == heads && {{inputs.parameters.n}} > 3`.
struct ArgoCondition: LogicParser {
    let scope: ArgoScope
    /// The steps whose outputs it asks.
    private(set) var needs: [String] = []

    private enum Token {
        case symbol(String)
        case operand(String)
    }

    private var tokens: [Token] = []
    private var index = 0
    var depth = 0

    init(_ scope: ArgoScope) {
        self.scope = scope
    }

    mutating func predicate(of text: String) throws(Problem) -> PathPredicate {
        (tokens, index) = (try Self.tokens(of: text), 0)
        return try whole()
    }

    var isAtEnd: Bool { index == tokens.count }

    private static func tokens(of text: String) throws(Problem) -> [Token] {
        var tokens: [Token] = []
        var rest = text[...]
        while let first = rest.first {
            if first.isWhitespace {
                rest.removeFirst()
            } else if first == "'" || first == "\"" {
                guard let end = rest.dropFirst().firstIndex(of: first) else {
                    throw Problem("a text in quotes does not end")
                }
                tokens.append(.operand(String(rest[rest.index(after: rest.startIndex)..<end])))
                rest = rest[rest.index(after: end)...]
            } else if let match = rest.prefixMatch(of: /==|!=|>=|<=|=~|!~|&&|\|\||[<>!(),]/) {
                tokens.append(.symbol(String(match.0)))
                rest = rest[match.range.upperBound...]
            } else if let match = rest.prefixMatch(of: /(\{\{[^}]*\}\}|[^\s'"=!<>&|(),{])+/) {
                tokens.append(match.0 == "in" ? .symbol("in") : .operand(String(match.0)))
                rest = rest[match.range.upperBound...]
            } else {
                throw Problem("\(first) means nothing there")
            }
        }
        return tokens
    }

    mutating func accept(_ symbol: String) -> Bool {
        guard index < tokens.count, case .symbol(symbol) = tokens[index] else { return false }
        index += 1
        return true
    }

    mutating func term() throws(Problem) -> PathPredicate {
        depth += 1
        defer { depth -= 1 }
        guard depth < 200 else { throw Problem("it is nested too deeply") }
        if accept("!") { return .not(try term()) }
        if let inner = try group() { return inner }
        let left = try operand()
        for symbol in ["==", "!=", ">=", "<=", ">", "<", "=~", "!~"] where accept(symbol) {
            return try compare(symbol, left, try operand())
        }
        if accept("in") {
            guard accept("(") else { throw Problem("a ( is missing behind in") }
            var parts: [PathPredicate] = []
            repeat { parts.append(try compare("==", left, try operand())) } while accept(",")
            guard accept(")") else { throw Problem("a ) is missing") }
            return .any(parts)
        }
        return try compare("==", left, .literal(.bool(true)))
    }

    private mutating func operand() throws(Problem) -> ArgoValue {
        guard index < tokens.count, case .operand(let text) = tokens[index] else {
            throw Problem(index < tokens.count ? "an operator stands where a value belongs" : "it ends too early")
        }
        index += 1
        let value = scope.value(of: text)
        switch value {
        case .unknown(let reason): throw Problem(reason)
        case .path(let path, _) where path.hasPrefix(ArgoScope.element):
            throw Problem("it is about single items that are known only when the run is under way")
        case .path(_, let keys): needs += keys
        case .template:
            throw Problem("\"\(text)\" puts values that are known only when the run is under way into a text")
        case .literal: break
        }
        return value
    }

    // MARK: Comparing

    private func compare(_ symbol: String, _ left: ArgoValue, _ right: ArgoValue) throws(Problem) -> PathPredicate {
        switch (left, right) {
        case (.literal(let left), .literal(let right)):
            return .constant(try Self.evaluate(symbol, ArgoValue.text(left), ArgoValue.text(right)))
        case (.literal, .path):
            let mirrored = ["<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="]
            guard let symbol = mirrored[symbol] else { throw Problem("a pattern must be written out") }
            return try compare(symbol, right, left)
        case (.path(let path, _), .literal(let value)):
            let text = path == ArgoScope.endedState ? Self.state(ArgoValue.text(value)) : ArgoValue.text(value)
            switch symbol {
            case "==": return Self.equals(path, text)
            case "!=": return .not(Self.equals(path, text))
            case "=~": return .test("\(path) like_regex \(JSONPathText.literal(.string(text)))")
            case "!~": return .not(.test("\(path) like_regex \(JSONPathText.literal(.string(text)))"))
            default:
                guard Double(text) != nil else {
                    return .test("\(path) \(symbol) \(JSONPathText.literal(.string(text)))")
                }
                // Argo's values are texts; ours may be numbers.
                return .test("\(path).double() \(symbol) \(text)")
            }
        case (.path(let left, _), .path(let right, _)):
            if symbol == "!=" { return .not(.test("\(left) == \(right)")) }
            guard symbol != "=~", symbol != "!~" else { throw Problem("a pattern must be written out") }
            return .test("\(left) \(symbol) \(right)")
        case (.unknown(let reason), _), (_, .unknown(let reason)):
            throw Problem(reason)
        case (.template, _), (_, .template):
            throw Problem("texts that are put together cannot be compared")
        }
    }

    /// What Argo calls the end of a workflow. Errors are failures here.
    private static func state(_ phase: String) -> String {
        ["Succeeded": "completed", "Failed": "failed", "Error": "failed"][phase] ?? phase
    }

    /// Argo's values are texts; ours may be numbers and truth values.
    private static func equals(_ path: String, _ text: String) -> PathPredicate {
        let asText = PathPredicate.test("\(path) == \(JSONPathText.literal(.string(text)))")
        let isNumber = text.wholeMatch(of: /-?(0|[1-9][0-9]*)(\.[0-9]+)?/) != nil
        return isNumber || text == "true" || text == "false" ? .any([.test("\(path) == \(text)"), asText]) : asText
    }

    private static func evaluate(_ symbol: String, _ left: String, _ right: String) throws(Problem) -> Bool {
        if symbol == "=~" || symbol == "!~" {
            guard let pattern = try? Regex(right) else { throw Problem("\(right) is no pattern") }
            return left.contains(pattern) == (symbol == "=~")
        }
        if let left = Double(left), let right = Double(right) { return Comparison.holds(symbol, left, right) }
        return Comparison.holds(symbol, left, right)
    }
}
