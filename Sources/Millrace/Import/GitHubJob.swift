/// A job of GitHub Actions, and the steps that it becomes.
struct GitHubJob {
    private static let keys: Set<String> = [
        "name", "permissions", "needs", "if", "runs-on", "environment", "concurrency", "outputs", "env", "defaults",
        "steps", "timeout-minutes", "strategy", "continue-on-error", "container", "services", "uses", "with", "secrets",
        "snapshot",
    ]
    private static let strategyKeys: Set<String> = ["matrix", "fail-fast", "max-parallel"]

    let name: String
    let node: ImportNode
    let needs: [String]
    private(set) var combinations: [GitHubMatrix.Combination?] = [nil]
    private(set) var steps: [String] = []
    /// The steps whose failures do not count.
    private(set) var tolerated: Set<String> = []
    /// Its matrix, where the engine spreads one step over it.
    let spread: GitHubSpread?
    /// Its `if`, where it has one.
    let condition: Result<GitHubExpression, GitHubExpression.Problem>?
    /// What must have succeeded above it, as far as its own success does not say so.
    var above: RuleExpression?

    /// How those that need it see it.
    var outside: GitHubCondition.Job {
        .init(steps: steps, tolerated: tolerated, isSpread: spread != nil, above: above ?? .constant(true))
    }

    /// Whether its `if` asks for more, or less, than the success of all that stands above.
    var namesStatus: Bool {
        if case .success(let expression)? = condition { GitHubCondition.namesStatus(expression) } else { false }
    }

    init(_ name: String, _ node: ImportNode, _ taken: inout Set<String>, _ findings: ImportFindings) {
        self.name = name
        self.node = node
        needs = node["needs"].map { $0.elements?.compactMap(\.text) ?? [$0.text ?? ""] } ?? []
        condition = node["if"]?.text.map { GitHubExpression.parse(condition: $0) }
        let isTolerated = Self.bool(node["continue-on-error"], [:]) == true
        spread = GitHubSpread(node, needs: needs, continues: isTolerated, findings)
        Self.check(node, findings)
        if spread == nil { combinations = Self.combinations(of: node, findings) }
        for combination in combinations {
            let title = combination?.title ?? ""
            let key = StepKey.unique(title.isEmpty ? name : "\(name) (\(title))", among: taken)
            taken.insert(key)
            steps.append(key)
            guard let part = node["continue-on-error"] else { continue }
            guard let continues = Self.bool(part, combination?.values ?? [:]) else {
                findings.refuse(
                    "continue-on-error",
                    part,
                    "It is neither true nor false, or computed when the run is under way."
                )
                continue
            }
            // Elements whose failures do not count have failed within their step.
            if continues, spread == nil { tolerated.insert(key) }
        }
    }

    private static func check(_ node: ImportNode, _ findings: ImportFindings) {
        for (key, part) in node.members where !keys.contains(key) {
            findings.mistake(part, "Jobs have no such key.")
        }
        if let part = node["if"], part.text == nil { findings.mistake(part, "A condition is a text.") }
        if let part = node["needs"], part.text == nil, part.elements?.allSatisfy({ $0.text != nil }) != true {
            findings.mistake(part, "It is neither a job nor a list of jobs.")
        }
        if let part = node["strategy"], !part.isMapping { findings.mistake(part, "A strategy is a mapping.") }
        for (key, part) in node["strategy"]?.members ?? [] where !strategyKeys.contains(key) {
            findings.mistake(part, "Strategies have no such key.")
        }
        if let concurrency = node["concurrency"] {
            findings.refuse("concurrency", concurrency, "That jobs of several runs exclude each other cannot be said.")
        }
        if let environment = node["environment"] {
            findings.refuse(
                "environment",
                environment,
                "Its protection rules, which may hold the job, are not in the file."
            )
        }
    }

    private static func combinations(of node: ImportNode, _ findings: ImportFindings) -> [GitHubMatrix.Combination?] {
        guard let strategy = node["strategy"], let matrix = strategy["matrix"] else { return [nil] }
        if strategy["fail-fast"] == nil {
            findings.leaveBehind(
                strategy,
                "fail-fast, which is on by default: the other steps go on when one has failed. With fail-fast: true or max-parallel, "
                    + "the engine spreads one step over the matrix."
            )
        }
        return GitHubMatrix(matrix, findings)?.combinations ?? [nil]
    }

    /// - Returns: None where it is neither true nor false, or not known yet.
    private static func bool(_ node: ImportNode?, _ matrix: [String: JSONValue]) -> Bool? {
        switch node.flatMap({ GitHubExpression.value($0, matrix: matrix) }) {
        case .bool(let value): value
        case .null: false
        default: nil
        }
    }

    func timeout(_ matrix: [String: JSONValue], _ findings: ImportFindings) -> String? {
        guard let part = node["timeout-minutes"] else { return nil }
        switch GitHubExpression.value(part, matrix: matrix) {
        case .integer(let minutes)? where minutes > 0: return "\(minutes)m"
        case .number(let minutes)? where minutes > 0: return "\(minutes * 60)s"
        default:
            findings.refuse(
                "timeout-minutes",
                part,
                "It is no number of minutes, or computed when the run is under way."
            )
            return nil
        }
    }
}
