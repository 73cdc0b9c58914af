/// A `depends` expression of Argo: `A && (B.Succeeded || C.Failed)`.
indirect enum ArgoDepends: LogicExpression {
    typealias Problem = ExpressionProblem

    /// A task and what is asked of it; nothing is asked where it should only be out of the way.
    case task(String, String?)
    case all([ArgoDepends])
    case any([ArgoDepends])
    case not(ArgoDepends)

    var tasks: [String] {
        switch self {
        case .task(let name, _): [name]
        case .all(let parts), .any(let parts): parts.flatMap(\.tasks)
        case .not(let inner): inner.tasks
        }
    }

    /// Whether it says no more than a list of dependencies.
    ///
    /// - Parameter mustSucceed: Whether a task's success is the same as that it is out of the way.
    func isList(_ mustSucceed: (String) -> Bool) -> Bool {
        switch self {
        case .task(let name, let result): result == nil || result == "Succeeded" && mustSucceed(name)
        case .all(let parts): parts.allSatisfy { $0.isList(mustSucceed) }
        case .any, .not: false
        }
    }

    static func parse(_ text: String) -> Result<ArgoDepends, Problem> {
        Result { () throws(Problem) in
            var parser = try Parser(text)
            return try parser.whole()
        }
    }

    private struct Parser: LogicParser {
        private var words: [String] = []
        private var index = 0
        var depth = 0

        var isAtEnd: Bool { index == words.count }

        init(_ text: String) throws(Problem) {
            var rest = text[...]
            while let first = rest.first {
                if first.isWhitespace {
                    rest.removeFirst()
                } else if let match = rest.prefixMatch(of: /&&|\|\||[!()]|[A-Za-z0-9_-]+(\.[A-Za-z]+)?/) {
                    words.append(String(match.0))
                    rest = rest[match.range.upperBound...]
                } else {
                    throw Problem("\(first) means nothing there")
                }
            }
        }

        mutating func accept(_ word: String) -> Bool {
            guard index < words.count, words[index] == word else { return false }
            index += 1
            return true
        }

        mutating func term() throws(Problem) -> ArgoDepends {
            depth += 1
            defer { depth -= 1 }
            guard depth < 200 else { throw Problem("it is nested too deeply") }
            if accept("!") { return .not(try term()) }
            if let inner = try group() { return inner }
            guard index < words.count, let first = words[index].first, first.isLetter || first.isNumber || first == "_"
            else {
                throw Problem(index < words.count ? "\(words[index]) stands where a task belongs" : "it ends too early")
            }
            let parts = words[index].split(separator: ".").map(String.init)
            index += 1
            return .task(parts[0], parts.count > 1 ? parts[1] : nil)
        }
    }
}
