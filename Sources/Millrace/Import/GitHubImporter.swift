/// A workflow of GitHub Actions: a step a job, or one for each combination of its matrix.
struct GitHubImporter: Importer {
    private static let workflowKeys: Set<String> = [
        "name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs",
    ]
    private static let jobKeys: Set<String> = [
        "name", "permissions", "needs", "if", "runs-on", "environment", "concurrency", "outputs", "env", "defaults",
        "steps",
        "timeout-minutes", "strategy", "continue-on-error", "container", "services", "uses", "with", "secrets",
        "snapshot",
    ]
    private static let strategyKeys: Set<String> = ["matrix", "fail-fast", "max-parallel"]

    private let options: ImportOptions
    private let findings: ImportFindings
    private let root: ImportNode
    private var jobs: [String: Job] = [:]

    /// A job and the steps that it becomes.
    private struct Job {
        var name: String
        var node: ImportNode
        var needs: [String]
        var combinations: [GitHubMatrix.Combination?]
        var steps: [String]
        var continues: Bool
        /// Its matrix, where the engine spreads one step over it.
        var spread: GitHubSpread?

        var outside: GitHubCondition.Job { .init(steps: steps, continues: continues, isSpread: spread != nil) }
    }

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        let documents = try YAML.documents(file.text)
        guard let document = documents.first, documents.count == 1, let jobs = ImportNode(document)["jobs"],
            jobs.isMapping
        else {
            throw MillraceError(.malformed, "This is no workflow of GitHub Actions: it has no jobs.")
        }
        var importer = GitHubImporter(options: options, findings: findings, root: ImportNode(document))
        let steps = importer.steps(jobs)
        var workflow = ImportedWorkflow(name: importer.root["name"]?.text ?? "", steps: steps)
        workflow.description = importer.root["run-name"]?.text
        return workflow
    }

    private init(options: ImportOptions, findings: ImportFindings, root: ImportNode) {
        self.options = options
        self.findings = findings
        self.root = root
    }

    private mutating func steps(_ nodes: ImportNode) -> [ImportedStep] {
        for (name, node) in root.members where !Self.workflowKeys.contains(name) {
            findings.mistake(node, "Workflows have no such key.")
        }
        // YAML 1.1 takes `on` for a truth value; here it is a word.
        if let on = root["on"] { findings.leaveBehind(on, "What starts the workflow: runs are started by submit.") }
        if let concurrency = root["concurrency"] {
            findings.refuse("concurrency", concurrency, "That runs exclude each other cannot be said.")
        }
        var taken: Set<String> = []
        var order: [String] = []
        for (name, node) in nodes.members {
            guard node.isMapping else {
                findings.mistake(node, "A job is a mapping.")
                continue
            }
            jobs[name] = job(name, node, &taken)
            order.append(name)
        }
        let simulated = options.handler == .shell ? "" : "What jobs do, and where: it is not executed."
        if !simulated.isEmpty { findings.leaveBehind("jobs.*.steps", simulated) }
        return order.flatMap { steps(of: jobs[$0]!) }
    }

    // MARK: Jobs

    private func job(_ name: String, _ node: ImportNode, _ taken: inout Set<String>) -> Job {
        for (key, part) in node.members where !Self.jobKeys.contains(key) {
            findings.mistake(part, "Jobs have no such key.")
        }
        if let uses = node["uses"] {
            findings.refuse("uses", uses, "It calls the workflow \(uses.text ?? ""), which is another file.")
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
        let spread = GitHubSpread(node, needs: needs(of: node), findings)
        let combinations = spread == nil ? self.combinations(of: node) : [nil]
        var steps: [String] = []
        for combination in combinations {
            let title = combination?.title ?? ""
            let key = StepKey.unique(title.isEmpty ? name : "\(name) (\(title))", among: taken)
            taken.insert(key)
            steps.append(key)
        }
        let continues = combinations.map { self.continues(node, $0) }
        if Set(continues).count > 1 {
            findings.refuse(
                "continue-on-error",
                node["continue-on-error"]!,
                "Some combinations of the matrix may fail and others may not: their dependents cannot tell."
            )
        }
        return Job(
            name: name,
            node: node,
            needs: needs(of: node),
            combinations: combinations,
            steps: steps,
            continues: continues.allSatisfy { $0 },
            spread: spread
        )
    }

    private func needs(of node: ImportNode) -> [String] {
        node["needs"].map { $0.elements?.compactMap(\.text) ?? [$0.text ?? ""] } ?? []
    }

    private func combinations(of node: ImportNode) -> [GitHubMatrix.Combination?] {
        guard let strategy = node["strategy"] else { return [nil] }
        for (key, part) in strategy.members where !Self.strategyKeys.contains(key) {
            findings.mistake(part, "Strategies have no such key.")
        }
        guard let matrix = strategy["matrix"] else { return [nil] }
        if strategy["fail-fast"] == nil {
            findings.leaveBehind(
                strategy,
                "fail-fast, which is on by default: the other steps go on when one has failed. With fail-fast: true or max-parallel, "
                    + "the engine spreads one step over the matrix."
            )
        }
        return GitHubMatrix(matrix, findings)?.combinations ?? [nil]
    }

    private func continues(_ node: ImportNode, _ combination: GitHubMatrix.Combination?) -> Bool {
        guard let part = node["continue-on-error"] else { return false }
        switch GitHubExpression.value(part, matrix: combination?.values ?? [:]) {
        case .bool(let value): return value
        case .null: return false
        default:
            findings.refuse(
                "continue-on-error",
                part,
                "It is neither true nor false, or computed when the run is under way."
            )
            return false
        }
    }

    // MARK: Steps

    private func steps(of job: Job) -> [ImportedStep] {
        let condition = GitHubCondition(
            needs: job.needs.compactMap { name in jobs[name].map { (name, $0.outside) } },
            ancestors: ancestors(of: job).map(\.outside)
        )
        let decision = self.decision(job, condition)
        if job.continues {
            findings.leaveBehind(
                job.node["continue-on-error"]!,
                "What needs it goes on, but its failure still fails the run."
            )
        }
        if let need = job.spread?.need.flatMap({ jobs[$0] }), need.steps.count > 1 || need.spread != nil {
            findings.refuse(
                "matrix",
                job.node["strategy"] ?? job.node,
                "needs.\(need.name) is a matrix itself: its outputs are those of several steps."
            )
        }
        return zip(job.steps, job.combinations).map { key, combination in
            var step = ImportedStep(key: key)
            let values = combination?.values ?? [:]
            // A need that is no job is named by the server.
            step.need(job.needs.flatMap { jobs[$0]?.steps ?? [$0] })
            if step.needs.allSatisfy({ name in jobs.values.contains { $0.steps.contains(name) } }) {
                if !step.setRule(decision.rule) {
                    findings.refuse(
                        "if",
                        job.node["if"] ?? job.node,
                        "It never holds: the job would start only in a cancelled run, or not at all."
                    )
                }
            }
            step.when = decision.when.conditions
            step.description = job.node["name"]?.text.flatMap { GitHubExpression.text($0, matrix: values) }
            step.timeout = timeout(job.node, values)
            step.input = input(job, combination)
            if let spread = job.spread {
                step.forEach = spread.forEach
            }
            step.work(options)
            if options.handler == .shell {
                GitHubScript(job: job.node, workflow: root, matrix: values, findings: findings).apply(to: &step)
            }
            return step
        }
    }

    private func decision(_ job: Job, _ condition: GitHubCondition) -> GitHubCondition.Decision {
        let byDefault = GitHubCondition.Decision(rule: condition.success, when: .constant(true))
        guard let part = job.node["if"], let text = part.text else { return byDefault }
        let decided = GitHubExpression.parse(condition: text).flatMap(condition.decide)
        switch decided {
        case .success(let decision): return decision
        case .failure(let problem):
            findings.refuse("if", part, "\"\(text.trimmed)\" cannot be said: \(problem.text).")
            return byDefault
        }
    }

    private func ancestors(of job: Job) -> [Job] {
        var found: [Job] = []
        var seen: Set<String> = []
        var open = job.needs
        while let name = open.popLast() {
            guard seen.insert(name).inserted, let above = jobs[name] else { continue }
            found.append(above)
            open += above.needs
        }
        return found.sorted { $0.name < $1.name }
    }

    private func timeout(_ node: ImportNode, _ matrix: [String: JSONValue]) -> String? {
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

    /// The values of the matrix, and the outputs of needs that the job speaks of.
    private func input(_ job: Job, _ combination: GitHubMatrix.Combination?) -> JSONValue? {
        var members: [String: JSONValue] = [:]
        if let combination { members["matrix"] = .object(combination.values.mapValues(GitHubSpread.literal)) }
        if let spread = job.spread { members["matrix"] = spread.input }
        var outputs: [String: [String: JSONValue]] = [:]
        for match in job.node.value.json.matches(of: /needs\.([A-Za-z_][\w-]*)\.outputs\.([A-Za-z_][\w-]*)/) {
            let (name, output) = (String(match.1), String(match.2))
            guard job.needs.contains(name), let steps = jobs[name]?.steps, steps.count == 1, jobs[name]?.spread == nil
            else { continue }
            outputs[name, default: [:]][output] = .string(JSONPathText.path(["needs", steps[0], output]))
        }
        if !outputs.isEmpty { members["needs"] = .object(outputs.mapValues { .object($0) }) }
        return members.isEmpty ? nil : .object(members)
    }
}
