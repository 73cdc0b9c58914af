/// What the `if` of a job becomes: a rule over the ends of needs, and conditions over the run's input and their outputs.
///
/// The two cannot be mixed under `||`: a rule is decided by what became of the needs, a condition by what they answered.
struct GitHubCondition {
    /// What a job looks like to those that need it.
    struct Job {
        /// The steps that it became: one, or one for each combination of its matrix.
        var steps: [String]
        /// Those of them that may fail without that being a failure.
        var tolerated: Set<String> = []
        /// Whether its one step is spread over a matrix.
        var isSpread = false
        /// What must have succeeded above it, as far as its own success does not say so.
        var above = RuleExpression.constant(true)

        var succeeded: RuleExpression {
            .all(
                steps.map {
                    tolerated.contains($0) ? .term($0, .completed) || .term($0, .failed) : .term($0, .completed)
                }
            )
        }
        var failed: RuleExpression {
            .any(steps.filter { !tolerated.contains($0) }.map { .term($0, .failed) })
        }
        var skipped: RuleExpression { .all(steps.map { .term($0, .skipped) }) }
        var cancelled: RuleExpression { .any(steps.map { .term($0, .cancelled) }) }
    }

    /// The jobs that it needs.
    var needs: [(name: String, job: Job)]
    /// All that stand above it.
    var ancestors: () -> [Job]

    struct Decision {
        var rule: RuleExpression
        var when: PathPredicate
    }

    private enum Part {
        case rule(RuleExpression)
        case when(PathPredicate)
        case both(RuleExpression, PathPredicate)
    }

    typealias Problem = ExpressionProblem

    /// The values of the combination, and the names by which an element of a spread matrix is asked for.
    var matrix: [String: JSONValue] = [:]
    var spread: GitHubSpread?

    /// What holds where no `if` says otherwise: all that stand above have succeeded, however far above.
    var success: RuleExpression { .all(needs.map { $0.job.succeeded && $0.job.above }) }

    func decide(_ expression: GitHubExpression) -> Result<Decision, GitHubExpression.Problem> {
        do throws(Problem) {
            // An `if` that names none of these functions asks for success besides.
            let implied: RuleExpression = Self.namesStatus(expression) ? .constant(true) : success
            switch try part(expression) {
            case .rule(let rule): return .success(Decision(rule: implied && rule, when: .constant(true)))
            case .when(let when): return .success(Decision(rule: implied, when: when))
            case .both(let rule, let when): return .success(Decision(rule: implied && rule, when: when))
            }
        } catch {
            return .failure(error)
        }
    }

    private static let statusFunctions: Set<String> = ["success", "failure", "always", "cancelled"]

    static func namesStatus(_ expression: GitHubExpression) -> Bool {
        switch expression {
        case .literal, .path: false
        case .call(let name, let arguments): statusFunctions.contains(name) || arguments.contains(where: namesStatus)
        case .compare(_, let left, let right): namesStatus(left) || namesStatus(right)
        case .all(let parts), .any(let parts): parts.contains(where: namesStatus)
        case .not(let inner): namesStatus(inner)
        }
    }

    /// Whether it asks for nothing but that the run is cancelled.
    static func isCancelled(_ expression: GitHubExpression) -> Bool {
        switch expression {
        case .call("cancelled", let arguments): arguments.isEmpty
        case .all(let parts):
            parts.contains(where: isCancelled)
                && parts.allSatisfy { part in
                    if case .call("always", _) = part { true } else { isCancelled(part) }
                }
        default: false
        }
    }

    // MARK: Logic

    private func part(_ expression: GitHubExpression) throws(Problem) -> Part {
        switch expression {
        case .all(let parts):
            var rules: [RuleExpression] = []
            var conditions: [PathPredicate] = []
            for inner in parts {
                switch try part(inner) {
                case .rule(let rule): rules.append(rule)
                case .when(let when): conditions.append(when)
                case .both(let rule, let when):
                    rules.append(rule)
                    conditions.append(when)
                }
            }
            if rules.isEmpty { return .when(.all(conditions)) }
            return conditions.isEmpty ? .rule(.all(rules)) : .both(.all(rules), .all(conditions))
        case .any(let parts):
            var rules: [RuleExpression] = []
            var conditions: [PathPredicate] = []
            for inner in parts {
                switch try part(inner) {
                case .rule(let rule): rules.append(rule)
                case .when(let when): conditions.append(when)
                case .both: throw Self.mixed
                }
            }
            guard rules.isEmpty || conditions.isEmpty else { throw Self.mixed }
            return rules.isEmpty ? .when(.any(conditions)) : .rule(.any(rules))
        case .not(let inner):
            switch try part(inner) {
            case .rule(let rule): return .rule(!rule)
            case .when(let when): return .when(.not(when))
            case .both: throw Self.mixed
            }
        case .call(let name, let arguments) where Self.statusFunctions.contains(name):
            guard arguments.isEmpty else { throw Problem("\(name)() takes no arguments") }
            return .rule(status(name))
        case .call("contains", let arguments) where arguments.count == 2:
            if case .path(let path) = arguments[0], path == [.name("needs"), .every, .name("result")] {
                guard case .literal(.string(let result)) = arguments[1] else {
                    throw Problem("contains(needs.*.result, …) asks for a result that is written out")
                }
                let found = try needs.map { needed throws(Problem) in try Self.result(result, of: needed.job) }
                return .rule(.any(found))
            }
            return .when(try contains(arguments[0], arguments[1]))
        case .compare(let symbol, let left, let right):
            if let result = try comparedResult(symbol, left, right) { return .rule(result) }
            return .when(try comparison(symbol, left, right))
        case .literal(let value):
            return .when(.constant(GitHubExpression.isTrue(value)))
        case .path(let path):
            let text = try self.path(path)
            return .when(.test("exists(\(text) ? (@ != \"\" && @ != false && @ != null && @ != 0))"))
        case .call(let name, let arguments):
            return .when(try test(name, arguments))
        }
    }

    private static let mixed = Problem(
        "it mixes with || (or negates together) how needs ended and what they or the run's input hold"
    )

    // MARK: How needs ended

    private func status(_ name: String) -> RuleExpression {
        switch name {
        case "success": success
        case "always": .constant(true)
        // All that stand above count: one whose failure had its dependents skipped too.
        case "failure": .any(ancestors().map(\.failed))
        // What starts when a run is cancelled has a place of its own.
        default: .constant(false)
        }
    }

    private static func result(_ result: String, of job: Job) throws(Problem) -> RuleExpression {
        switch result.lowercased() {
        case "success": return job.succeeded
        case "failure": return job.failed
        case "skipped": return job.skipped
        case "cancelled": return job.cancelled
        default: throw Problem("a job's result is success, failure, skipped or cancelled, never \(result)")
        }
    }

    /// `needs.build.result == 'success'`, either way round; nil where nothing of it is a result.
    private func comparedResult(_ symbol: String, _ left: GitHubExpression, _ right: GitHubExpression) throws(Problem)
        -> RuleExpression?
    {
        for (side, other) in [(left, right), (right, left)] {
            guard case .path(let path) = side, path.count == 3, path[0] == .name("needs"), path[2] == .name("result"),
                case .name(let name) = path[1]
            else { continue }
            guard case .literal(.string(let result)) = other, symbol == "==" || symbol == "!=" else {
                throw Problem("a result is compared by == or != with one that is written out")
            }
            let equal = try Self.result(result, of: try job(name))
            return symbol == "==" ? equal : !equal
        }
        return nil
    }

    private func job(_ name: String) throws(Problem) -> Job {
        guard let job = needs.first(where: { $0.name == name })?.job else {
            throw Problem("it asks for needs.\(name), which is not among the job's needs")
        }
        return job
    }

    // MARK: What the run's input and outputs hold

    /// The path in the run's input, in the outputs of needs, or in an element of a spread matrix.
    func path(_ parts: [GitHubExpression.Part]) throws(Problem) -> String {
        guard case .name(let context) = parts[0] else { throw Problem("a value has no name") }
        var path = "$.run"
        var rest = parts[...]
        switch context {
        case "github", "inputs", "vars": break
        case "matrix":
            guard let spread, parts.count > 1, case .name(let name) = parts[1] else {
                throw Problem("matrix is not known when it is decided whether a job starts")
            }
            path = spread.path(of: name)
            rest = parts[2...]
        case "needs":
            guard parts.count >= 4, case .name(let name) = parts[1], parts[2] == .name("outputs") else {
                throw Problem("of a need only its result and its outputs can be asked for")
            }
            guard let step = try job(name).steps.first, try job(name).steps.count == 1, try !job(name).isSpread else {
                throw Problem("needs.\(name) is a matrix: its outputs are those of several steps")
            }
            path = "$.needs.\(JSONPathText.member(step))"
            rest = parts[3...]
        default:
            throw Problem("\(context) is not known when it is decided whether a job starts")
        }
        for part in rest {
            switch part {
            case .name(let name): path += "." + JSONPathText.member(name)
            case .index(let index): path += "[\(index)]"
            case .every: path += "[*]"
            }
        }
        return path
    }

    private func comparison(_ symbol: String, _ left: GitHubExpression, _ right: GitHubExpression) throws(Problem)
        -> PathPredicate
    {
        switch (left, right) {
        case (.literal, .literal):
            let value = GitHubExpression.compare(symbol, left, right).value(matrix: [:])
            return .constant(value == .bool(true))
        case (.literal, .path):
            let mirrored = ["<": ">", ">": "<", "<=": ">=", ">=": "<="][symbol] ?? symbol
            return try comparison(mirrored, right, left)
        case (.path(let path), .literal(let value)):
            let text = try self.path(path)
            switch (symbol, value) {
            // What is absent is as good as an empty text.
            case ("==", .string("")), ("==", .null): return .not(.test("exists(\(text) ? (@ != \"\" && @ != null))"))
            case ("!=", .string("")), ("!=", .null): return .test("exists(\(text) ? (@ != \"\" && @ != null))")
            case ("!=", _): return .not(.test("\(text) == \(JSONPathText.literal(value))"))
            default: return .test("\(text) \(symbol) \(JSONPathText.literal(value))")
            }
        case (.path(let left), .path(let right)):
            let (left, right) = (try path(left), try path(right))
            return symbol == "!=" ? .not(.test("\(left) == \(right)")) : .test("\(left) \(symbol) \(right)")
        default:
            throw Problem("only paths and literals can be compared")
        }
    }

    /// `contains(github.event.labels.*.name, 'bug')`, `contains(github.ref, 'release')`, `contains(fromJSON('["a"]'), github.ref)`.
    private func contains(_ whole: GitHubExpression, _ part: GitHubExpression) throws(Problem) -> PathPredicate {
        if case .path(let path) = whole, case .literal(let value) = part {
            let text = try self.path(path)
            if path.contains(.every) { return .test("exists(\(text) ? (@ == \(JSONPathText.literal(value))))") }
            return .test(
                "\(text) like_regex \(JSONPathText.literal(.string(GitHubExpression.text(value)))) flag \"iq\""
            )
        }
        if case .call(let name, let arguments) = whole, name == "fromjson", arguments.count == 1, case .path = part,
            case .literal(.string(let json)) = arguments[0], case .array(let elements)? = try? JSONValue(json: json)
        {
            return .any(try elements.map { element throws(Problem) in try comparison("==", part, .literal(element)) })
        }
        throw Problem("contains() is understood of a path and a value that is written out")
    }

    private func test(_ name: String, _ arguments: [GitHubExpression]) throws(Problem) -> PathPredicate {
        guard name == "startswith" || name == "endswith" else {
            throw Problem("\(name)() cannot be said in a condition")
        }
        guard arguments.count == 2, case .path(let path) = arguments[0], case .literal(let value) = arguments[1] else {
            throw Problem("\(name)() is understood of a path and a text that is written out")
        }
        let (text, word) = (try self.path(path), GitHubExpression.text(value))
        if name == "startswith" { return .test("\(text) starts with \(JSONPathText.literal(.string(word)))") }
        return .test("\(text) like_regex \(JSONPathText.literal(.string(JSONPathText.escaped(word) + "$"))) flag \"i\"")
    }
}
