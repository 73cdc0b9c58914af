/// An expression of GitHub Actions, such as `github.ref == 'refs/heads/main' && needs.build.outputs.changed`.
indirect enum GitHubExpression: LogicExpression {
    typealias Problem = ExpressionProblem

    case literal(JSONValue)
    /// `needs.build.outputs.tag`, `github.event.commits.*.id`, `a['b']`, `a[0]`.
    case path([Part])
    case call(String, [GitHubExpression])
    case compare(String, GitHubExpression, GitHubExpression)
    case all([GitHubExpression])
    case any([GitHubExpression])
    case not(GitHubExpression)

    enum Part: Hashable {
        case name(String)
        case index(Int)
        case every
    }

    /// What an `if` says; `${{ }}` around all of it may be left out.
    static func parse(condition text: String) -> Result<GitHubExpression, Problem> {
        let text = text.trimmed
        guard text.hasPrefix("${{"), text.hasSuffix("}}") else {
            return text.contains("${{") ? .failure(Problem("only a part of it stands in ${{ }}")) : parse(text)
        }
        let inner = text.dropFirst(3).dropLast(2)
        return inner.contains("${{") ? .failure(Problem("it has several parts in ${{ }}")) : parse(String(inner))
    }

    static func parse(_ text: String) -> Result<GitHubExpression, Problem> {
        Result { () throws(Problem) in
            var parser = try Parser(text)
            return try parser.whole()
        }
    }

    /// The expressions in `${{ }}` within a text, and the plain text between them.
    static func pieces(of text: String) -> [(text: String, expression: String?)] {
        var pieces: [(String, String?)] = []
        var rest = text[...]
        while let start = rest.firstRange(of: "${{"), let end = rest[start.upperBound...].firstRange(of: "}}") {
            if start.lowerBound > rest.startIndex { pieces.append((String(rest[..<start.lowerBound]), nil)) }
            pieces.append(
                (String(rest[start.lowerBound..<end.upperBound]), String(rest[start.upperBound..<end.lowerBound]))
            )
            rest = rest[end.upperBound...]
        }
        if !rest.isEmpty { pieces.append((String(rest), nil)) }
        return pieces
    }
}

extension GitHubExpression {
    fileprivate struct Parser: LogicParser {
        private enum Token: Equatable {
            case name(String)
            case literal(JSONValue)
            case symbol(String)
        }

        private var tokens: [Token] = []
        private var index = 0
        var depth = 0

        var isAtEnd: Bool { index == tokens.count }

        init(_ text: String) throws(Problem) {
            let characters = Array(text)
            var index = 0
            func word(_ from: Int, _ belongs: (Character) -> Bool) -> String {
                var end = from
                while end < characters.count, belongs(characters[end]) { end += 1 }
                return String(characters[from..<end])
            }
            while index < characters.count {
                let character = characters[index]
                let next = index + 1 < characters.count ? characters[index + 1] : " "
                if character.isWhitespace {
                    index += 1
                } else if character == "'" {
                    var value = ""
                    index += 1
                    while true {
                        guard index < characters.count else { throw Problem("a text in quotes does not end") }
                        if characters[index] == "'" {
                            guard index + 1 < characters.count, characters[index + 1] == "'" else { break }
                            index += 1
                        }
                        value.append(characters[index])
                        index += 1
                    }
                    index += 1
                    tokens.append(.literal(.string(value)))
                } else if character.isLetter || character == "_" {
                    let name = word(index) { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }
                    index += name.count
                    let words: [String: JSONValue] = ["true": .bool(true), "false": .bool(false), "null": .null]
                    // Behind a dot it is a name, whatever it is.
                    let isMember = tokens.last == .symbol(".")
                    tokens.append(isMember ? .name(name) : words[name].map { .literal($0) } ?? .name(name))
                } else if character.isNumber || (character == "-" || character == "+") && next.isNumber {
                    let number = word(index) { $0.isLetter || $0.isNumber || "+-.".contains($0) }
                    guard let value = Self.number(number) else { throw Problem("\(number) is no number") }
                    index += number.count
                    tokens.append(.literal(value))
                } else if ["==", "!=", "<=", ">=", "&&", "||"].contains(String([character, next])) {
                    tokens.append(.symbol(String([character, next])))
                    index += 2
                } else if "()[].,!<>*".contains(character) {
                    tokens.append(.symbol(String(character)))
                    index += 1
                } else {
                    throw Problem("\(character) means nothing there")
                }
            }
        }

        private static func number(_ text: String) -> JSONValue? {
            if text.hasPrefix("0x") { return Int64(text.dropFirst(2), radix: 16).map { .integer($0) } }
            return Int64(text).map { .integer($0) } ?? Double(text).map { .number($0) }
        }

        mutating func accept(_ symbol: String) -> Bool {
            guard index < tokens.count, tokens[index] == .symbol(symbol) else { return false }
            index += 1
            return true
        }

        mutating func term() throws(Problem) -> GitHubExpression {
            var left = try negation()
            while let symbol = ["==", "!=", "<=", ">=", "<", ">"].first(where: { accept($0) }) {
                left = .compare(symbol, left, try negation())
            }
            return left
        }

        private mutating func negation() throws(Problem) -> GitHubExpression {
            var isNegated = false
            while accept("!") { isNegated.toggle() }
            let operand = try primary()
            return isNegated ? .not(operand) : operand
        }

        private mutating func primary() throws(Problem) -> GitHubExpression {
            if let inner = try group() { return inner }
            guard index < tokens.count else { throw Problem("it ends too early") }
            switch tokens[index] {
            case .literal(let value):
                index += 1
                return .literal(value)
            case .name(let name):
                index += 1
                return accept("(") ? .call(name.lowercased(), try arguments()) : .path(try path(from: name))
            case .symbol(let symbol):
                throw Problem("\(symbol) stands where a value belongs")
            }
        }

        private mutating func arguments() throws(Problem) -> [GitHubExpression] {
            if accept(")") { return [] }
            var arguments = [try disjunction()]
            while accept(",") { arguments.append(try disjunction()) }
            guard accept(")") else { throw Problem("a ) is missing") }
            return arguments
        }

        private mutating func path(from name: String) throws(Problem) -> [Part] {
            var parts = [Part.name(name)]
            while true {
                if accept(".") {
                    if accept("*") {
                        parts.append(.every)
                    } else if index < tokens.count, case .name(let name) = tokens[index] {
                        index += 1
                        parts.append(.name(name))
                    } else {
                        throw Problem("a name is missing behind a dot")
                    }
                } else if accept("[") {
                    guard index < tokens.count, case .literal(let value) = tokens[index] else {
                        throw Problem("only a text or a number can stand in [ ]")
                    }
                    index += 1
                    switch value {
                    case .string(let name): parts.append(.name(name))
                    case .integer(let number): parts.append(.index(Int(clamping: number)))
                    default: throw Problem("only a text or a number can stand in [ ]")
                    }
                    guard accept("]") else { throw Problem("a ] is missing") }
                } else {
                    return parts
                }
            }
        }
    }
}

extension GitHubExpression {
    /// The value, where it depends on nothing but the values of a matrix.
    func value(matrix: [String: JSONValue]) -> JSONValue? {
        switch self {
        case .literal(let value): return value
        case .path(let parts):
            // Without values there is no matrix that is known now.
            guard parts.first == .name("matrix"), !matrix.isEmpty else { return nil }
            var value = JSONValue.object(matrix)
            for part in parts.dropFirst() {
                switch (part, value) {
                case (.name(let name), .object(let members)): value = members[name] ?? .null
                case (.index(let index), .array(let elements)):
                    value = elements.indices.contains(index) ? elements[index] : .null
                case (.every, _): return nil
                default: value = .null
                }
            }
            return value
        case .call: return nil
        case .not(let inner): return inner.value(matrix: matrix).map { .bool(!Self.isTrue($0)) }
        case .all(let parts):
            // The last that was looked at is the value.
            for part in parts {
                guard let value = part.value(matrix: matrix) else { return nil }
                if !Self.isTrue(value) { return value }
            }
            return parts.last?.value(matrix: matrix)
        case .any(let parts):
            for part in parts {
                guard let value = part.value(matrix: matrix) else { return nil }
                if Self.isTrue(value) { return value }
            }
            return parts.last?.value(matrix: matrix)
        case .compare(let symbol, let left, let right):
            guard let left = left.value(matrix: matrix), let right = right.value(matrix: matrix) else { return nil }
            return Self.compare(symbol, left, right).map { .bool($0) }
        }
    }

    static func isTrue(_ value: JSONValue) -> Bool {
        switch value {
        case .null, .bool(false), .integer(0), .string(""): false
        case .number(let number): number != 0 && !number.isNaN
        default: true
        }
    }

    /// As GitHub does it: texts without regard to case, different kinds as numbers.
    private static func compare(_ symbol: String, _ left: JSONValue, _ right: JSONValue) -> Bool? {
        if case .string(let left) = left, case .string(let right) = right {
            return Comparison.holds(symbol, left.lowercased(), right.lowercased())
        }
        switch (left, right) {
        case (.array, _), (.object, _), (_, .array), (_, .object): return nil
        default: return Comparison.holds(symbol, number(left), number(right))
        }
    }

    private static func number(_ value: JSONValue) -> Double {
        switch value {
        case .null: 0
        case .bool(let value): value ? 1 : 0
        case .integer(let value): Double(value)
        case .number(let value): value
        case .string(let text): text.trimmed.isEmpty ? 0 : Double(text.trimmed) ?? .nan
        case .array, .object: .nan
        }
    }

    /// A text with its expressions replaced by their values; nil where one has no value yet.
    static func text(_ text: String, matrix: [String: JSONValue]) -> String? {
        var result = ""
        for piece in pieces(of: text) {
            guard let expression = piece.expression else {
                result += piece.text
                continue
            }
            guard case .success(let parsed) = parse(expression), let value = parsed.value(matrix: matrix) else {
                return nil
            }
            result += Self.text(value)
        }
        return result
    }

    static func text(_ value: JSONValue) -> String {
        switch value {
        case .null: ""
        case .string(let text): text
        default: value.json
        }
    }

    /// The value of a text that may be one expression.
    static func value(_ node: ImportNode, matrix: [String: JSONValue]) -> JSONValue? {
        guard let text = node.text, text.contains("${{") else { return node.value }
        if case .success(let parsed) = parse(condition: text) { return parsed.value(matrix: matrix) }
        return Self.text(text, matrix: matrix).map { .string($0) }
    }
}
