/// A `depends` expression of Argo: `A && (B.Succeeded || C.Failed)`.
indirect enum ArgoDepends {
    /// A task and what is asked of it; nothing is asked where it should only be out of the way.
    case task(String, String?)
    case all([ArgoDepends])
    case any([ArgoDepends])
    case not(ArgoDepends)

    struct Problem: Error {
        var text: String
        init(_ text: String) { self.text = text }
    }

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
        do throws(Problem) {
            var parser = try Parser(text)
            let expression = try parser.disjunction()
            guard parser.isAtEnd else { throw Problem("something stands behind its end") }
            return .success(expression)
        } catch {
            return .failure(error)
        }
    }

    private struct Parser {
        private var words: [String] = []
        private var index = 0
        private var depth = 0

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

        private mutating func accept(_ word: String) -> Bool {
            guard index < words.count, words[index] == word else { return false }
            index += 1
            return true
        }

        mutating func disjunction() throws(Problem) -> ArgoDepends {
            depth += 1
            defer { depth -= 1 }
            guard depth < 100 else { throw Problem("it is nested too deeply") }
            var parts = [try conjunction()]
            while accept("||") { parts.append(try conjunction()) }
            return parts.count == 1 ? parts[0] : .any(parts)
        }

        private mutating func conjunction() throws(Problem) -> ArgoDepends {
            var parts = [try term()]
            while accept("&&") { parts.append(try term()) }
            return parts.count == 1 ? parts[0] : .all(parts)
        }

        private mutating func term() throws(Problem) -> ArgoDepends {
            depth += 1
            defer { depth -= 1 }
            guard depth < 200 else { throw Problem("it is nested too deeply") }
            if accept("!") { return .not(try term()) }
            if accept("(") {
                let inner = try disjunction()
                guard accept(")") else { throw Problem("a ) is missing") }
                return inner
            }
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
