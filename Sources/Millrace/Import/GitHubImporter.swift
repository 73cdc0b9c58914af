/// A workflow of GitHub Actions: a step a job, or one for each combination of its matrix; a workflow that a job calls is a
/// workflow of its own, whose run is the step.
struct GitHubImporter: Importer {
    private static let workflowKeys: Set<String> = [
        "name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs",
    ]
    /// What jobs do, and where, is left behind; a script has some of it.
    private static let aboutWork = ["permissions", "env", "defaults"]

    /// Of jobs above one another that run in spite of failures.
    private static let depthLimit = 100

    private let options: ImportOptions
    private let findings: ImportFindings
    private let root: ImportNode
    private let calls: GitHubCalls
    private var jobs: [String: GitHubJob] = [:]

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        guard let root = try root(of: file.text) else {
            throw MillraceError(.malformed, "This is no workflow of GitHub Actions: it has no jobs.")
        }
        let name = file.workflowName(root["name"]?.text ?? "", options)
        let calls = GitHubCalls(besides: file, workflow: name, options, findings)
        var importer = GitHubImporter(options: options, findings: findings, root: root, calls: calls)
        var workflow = importer.workflow(called: name)
        workflow.children = calls.workflows
        return workflow
    }

    /// The workflow's mapping; none where it is no workflow.
    static func root(of text: String, path: String = "") throws(MillraceError) -> ImportNode? {
        let documents = try YAML.documents(text)
        guard let document = documents.first, documents.count == 1 else { return nil }
        let root = ImportNode(document, path: path)
        return root["jobs"]?.isMapping == true ? root : nil
    }

    init(options: ImportOptions, findings: ImportFindings, root: ImportNode, calls: GitHubCalls) {
        self.options = options
        self.findings = findings
        self.root = root
        self.calls = calls
    }

    mutating func workflow(called name: String) -> ImportedWorkflow {
        check()
        var taken: Set<String> = []
        var order: [String] = []
        for (name, node) in root["jobs"]?.members ?? [] {
            guard node.isMapping else {
                findings.mistake(node, "A job is a mapping.")
                continue
            }
            jobs[name] = GitHubJob(name, node, &taken, findings)
            order.append(name)
        }
        for name in order { _ = above(name, []) }
        var workflow = ImportedWorkflow(name: name)
        workflow.description = root["run-name"]?.text
        for name in order {
            let job = jobs[name]!
            if startsWhenCancelled(job) {
                workflow.finally += steps(of: job, whenCancelled: true)
            } else {
                workflow.steps += steps(of: job, whenCancelled: false)
            }
        }
        workflow.tolerate(jobs.values.reduce(into: []) { $0.formUnion($1.tolerated) })
        workflow.output = GitHubCalls.outputs(of: root, jobs, findings)
        return workflow
    }

    private func check() {
        for (name, node) in root.members where !Self.workflowKeys.contains(name) {
            findings.mistake(node, "Workflows have no such key.")
        }
        // YAML 1.1 takes `on` for a truth value; here it is a word.
        if let on = root["on"] { findings.leaveBehind(on, "What starts the workflow: runs are started by submit.") }
        if let concurrency = root["concurrency"] {
            findings.refuse("concurrency", concurrency, "That runs exclude each other cannot be said.")
        }
        for key in Self.aboutWork where options.handler != .shell || key == "permissions" {
            if let part = root[key] { findings.leaveBehind(part, "It is about what jobs do.") }
        }
        if options.handler != .shell {
            findings.leaveBehind("jobs.*.steps", "What jobs do, and where: it is not executed.")
        }
    }

    // MARK: What stands above

    /// What must have succeeded above a job, as far as its own success does not say so: all, where its `if` lets it run in
    /// spite of failures and skips.
    private mutating func above(_ name: String, _ path: Set<String>) -> RuleExpression {
        guard let job = jobs[name], job.namesStatus, !path.contains(name) else { return .constant(true) }
        if let known = job.above { return known }
        guard path.count < Self.depthLimit else {
            findings.refuse("if", job.node["if"] ?? job.node, "It depends on how too many jobs above it ended.")
            return .constant(true)
        }
        var parts: [RuleExpression] = []
        for need in job.needs {
            guard let needed = jobs[need] else { continue }
            parts += [needed.outside.succeeded, above(need, path.union([name]))]
        }
        let above = RuleExpression.all(parts).simplified
        jobs[name]?.above = above
        return above
    }

    private func ancestors(of job: GitHubJob) -> [GitHubJob] {
        var found: [GitHubJob] = []
        var seen: Set<String> = []
        var open = job.needs
        while let name = open.popLast() {
            guard seen.insert(name).inserted, let above = jobs[name] else { continue }
            found.append(above)
            open += above.needs
        }
        return found.sorted { $0.name < $1.name }
    }

    /// A job for a cancelled run, which no other job waits for, is one of the steps at the end.
    private func startsWhenCancelled(_ job: GitHubJob) -> Bool {
        guard case .success(let expression)? = job.condition, GitHubCondition.isCancelled(expression) else {
            return false
        }
        return !jobs.values.contains { $0.needs.contains(job.name) }
    }

    // MARK: Steps

    private func steps(of job: GitHubJob, whenCancelled: Bool) -> [ImportedStep] {
        if let need = job.spread?.need.flatMap({ jobs[$0] }), need.steps.count > 1 || need.spread != nil {
            findings.refuse(
                "matrix",
                job.node["strategy"] ?? job.node,
                "needs.\(need.name) is a matrix itself: its outputs are those of several steps."
            )
        }
        return zip(job.steps, job.combinations).map { key, combination in
            let values = combination?.values ?? [:]
            let condition = GitHubCondition(
                needs: job.needs.compactMap { name in jobs[name].map { (name, $0.outside) } },
                ancestors: { ancestors(of: job).map(\.outside) },
                matrix: values,
                spread: job.spread
            )
            var step = ImportedStep(key: key)
            if whenCancelled {
                step.when = ["$.ended.state == \"cancelled\""]
            } else {
                decide(job, condition, &step)
            }
            step.description = job.node["name"]?.text.flatMap { GitHubExpression.text($0, matrix: values) }
            step.timeout = job.timeout(values, findings)
            step.forEach = job.spread?.forEach
            step.input = input(job, combination)
            if let call = calls.workflow(of: job.node) {
                step.workflow = call.name
                step.input = call.input(of: job.node, condition, findings)
            }
            step.work(options)
            if options.handler == .shell {
                GitHubScript(job: job.node, workflow: root, matrix: values, findings: findings).apply(to: &step)
            }
            return step
        }
    }

    private func decide(_ job: GitHubJob, _ condition: GitHubCondition, _ step: inout ImportedStep) {
        let decision = decision(job, condition)
        // A need that is no job is named by the server.
        step.need(job.needs.flatMap { jobs[$0]?.steps ?? [$0] })
        step.when = decision.when.conditions
        guard job.needs.allSatisfy({ jobs[$0] != nil }) else { return }
        if !step.setRule(decision.rule) {
            findings.refuse(
                "if",
                job.node["if"] ?? job.node,
                "It never holds: the job would start only in a cancelled run, or not at all."
            )
        }
    }

    private func decision(_ job: GitHubJob, _ condition: GitHubCondition) -> GitHubCondition.Decision {
        var condition = condition
        // The matrix comes after it.
        condition.spread = nil
        guard let decided = job.condition?.flatMap(condition.decide) else {
            return GitHubCondition.Decision(rule: condition.success, when: .constant(true))
        }
        switch decided {
        case .success(let decision): return decision
        case .failure(let problem):
            let part = job.node["if"]!
            findings.refuse("if", part, "\"\((part.text ?? "").trimmed)\" cannot be said: \(problem.text).")
            return GitHubCondition.Decision(rule: condition.success, when: .constant(true))
        }
    }

    /// The values of the matrix, and the outputs of needs that the job speaks of.
    private func input(_ job: GitHubJob, _ combination: GitHubMatrix.Combination?) -> JSONValue? {
        var members: [String: JSONValue] = [:]
        if let combination { members["matrix"] = .object(combination.values.mapValues(ImportedValue.literal)) }
        if let spread = job.spread { members["matrix"] = spread.input }
        var outputs: [String: [String: JSONValue]] = [:]
        for match in job.node.value.json.matches(of: /needs\.([A-Za-z_][\w-]*)\.outputs\.([A-Za-z_][\w-]*)/) {
            let (name, output) = (String(match.1), String(match.2))
            guard job.needs.contains(name), let needed = jobs[name] else { continue }
            guard needed.steps.count == 1, needed.spread == nil else {
                findings.leaveBehind(job.node, "needs.\(name).outputs: those of several steps, for it is a matrix.")
                continue
            }
            outputs[name, default: [:]][output] = .string(JSONPathText.path(["needs", needed.steps[0], output]))
        }
        if !outputs.isEmpty { members["needs"] = .object(outputs.mapValues { .object($0) }) }
        return members.isEmpty ? nil : .object(members)
    }
}
