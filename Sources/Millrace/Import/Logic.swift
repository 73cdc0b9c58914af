/// Why an expression of another engine cannot be read, or not be carried over.
struct ExpressionProblem: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// What is true or false, or joins what is.
protocol LogicExpression {
    static func all(_ parts: [Self]) -> Self
    static func any(_ parts: [Self]) -> Self
}

/// Reads `a && (b || c)`, in which the expressions of all engines are alike; what stands between, each reads by itself.
protocol LogicParser {
    associatedtype Expression: LogicExpression
    typealias Problem = ExpressionProblem

    /// How many parentheses are open, and what else nests.
    var depth: Int { get set }
    var isAtEnd: Bool { get }

    /// Steps over a symbol, if it comes next.
    mutating func accept(_ symbol: String) -> Bool
    mutating func term() throws(Problem) -> Expression
}

extension LogicParser {
    /// All that there is to read.
    mutating func whole() throws(Problem) -> Expression {
        let expression = try disjunction()
        guard isAtEnd else { throw Problem("something stands behind its end") }
        return expression
    }

    mutating func disjunction() throws(Problem) -> Expression {
        depth += 1
        defer { depth -= 1 }
        guard depth < 100 else { throw Problem("it is nested too deeply") }
        var parts = [try conjunction()]
        while accept("||") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func conjunction() throws(Problem) -> Expression {
        var parts = [try term()]
        while accept("&&") { parts.append(try term()) }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    /// What stands in parentheses; nil where none begin.
    mutating func group() throws(Problem) -> Expression? {
        guard accept("(") else { return nil }
        let inner = try disjunction()
        guard accept(")") else { throw Problem("a ) is missing") }
        return inner
    }
}

/// Values beside each other, by a symbol that engines share.
enum Comparison {
    static func holds<Value: Comparable>(_ symbol: String, _ left: Value, _ right: Value) -> Bool {
        switch symbol {
        case "==": left == right
        case "!=": left != right
        case "<": left < right
        case "<=": left <= right
        case ">": left > right
        default: left >= right
        }
    }
}
