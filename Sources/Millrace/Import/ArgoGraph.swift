/// Dissolves templates that order others into the steps that do something.
final class ArgoGraph {
    private static let taskKeys: Set<String> = [
        "name", "template", "inline", "templateRef", "dependencies", "depends", "when", "withItems", "withParam",
        "withSequence", "arguments", "continueOn",
    ]
    /// Of one rule, in terms. The server takes rules of 10,000 bytes.
    private static let ruleLimit = 500
    /// What only steps have: of a template that orders others, its run as a step.
    static let policies = ["retryStrategy", "timeout", "activeDeadlineSeconds"]

    private let templates: [String: ImportNode]
    let library: [String: ImportNode]
    let leaves: ArgoTemplate
    let findings: ImportFindings
    let children: ArgoChildren
    /// Where the parameters of the whole workflow stand.
    let parametersPath: [String]
    private(set) var steps: [ImportedStep] = []
    private var taken: Set<String> = []
    /// Steps that a condition may skip.
    private var conditional: Set<String> = []
    /// Tasks with `continueOn`, by the first of their steps.
    private(set) var continued: Set<String> = []
    /// Steps whose failures do not count.
    private(set) var tolerated: Set<String> = []
    private var isAtEnd = false

    init(
        specs: [ImportNode],
        library: [String: ImportNode],
        children: ArgoChildren,
        options: ImportOptions,
        findings: ImportFindings
    ) {
        self.library = library
        self.findings = findings
        self.children = children
        parametersPath = ["run"]
        var templates: [String: ImportNode] = [:]
        for spec in specs.reversed() { templates.merge(Self.templates(of: spec, findings)) { $1 } }
        self.templates = templates
        leaves = ArgoTemplate(
            defaults: specs.lazy.compactMap { $0["templateDefaults"] }.first,
            options: options,
            findings: findings
        )
    }

    /// The graph of a sub-run.
    init(within other: ArgoGraph, templates: [String: ImportNode], parameters: [String]) {
        self.templates = templates
        (library, leaves, findings, children) = (other.library, other.leaves, other.findings, other.children)
        parametersPath = parameters
    }

    /// - Parameters:
    ///   - prefix: What stands before the names of the tasks.
    ///   - parameters: Names of the workflow's own.
    ///   - isAtEnd: Whether the steps see what became of the others.
    func build(
        _ name: String,
        named node: ImportNode,
        prefix: String = "",
        parameters: Set<String>,
        isAtEnd: Bool = false
    ) -> [ImportedStep] {
        guard let template = templates[name] else {
            findings.mistake(node, "There is no template \"\(name)\".")
            return []
        }
        self.isAtEnd = isAtEnd
        let first = steps.count
        var scope = ArgoScope()
        scope.isAtEnd = isAtEnd
        let arguments = parameters.reduce(into: [:]) {
            $0[$1] = ArgoValue.path(JSONPathText.path(["run", $1]), needs: [])
        }
        scope.parameters = inputs(of: template, arguments)
        // The template that everything begins with gives its tasks no name before theirs.
        let place = Place(prefix: prefix, name: name, depth: [name], templates: templates)
        _ = dissolve(template, at: place, scope, ArgoDependence())
        return Array(steps[first...])
    }

    struct Place {
        /// What stands before the names of tasks within.
        var prefix: String
        var name: String
        /// The templates around it.
        var depth: [String]
        var templates: [String: ImportNode]
    }

    /// What a task is spread over when the run is under way.
    struct Spread {
        var path: String
        /// The steps that the path asks.
        var needs: [String]
        /// Whether failures of single elements do not count.
        var collects = false
    }

    // MARK: Templates

    /// - Parameter isRun: Whether the template is the whole of a sub-run.
    func dissolve(
        _ template: ImportNode,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        isRun: Bool = false
    ) -> ArgoTask {
        if let dag = template["dag"] {
            checkOrdering(template, isRun)
            if dag["tasks"]?.elements == nil { findings.mistake(dag, "It has no list of tasks.") }
            if dag["failFast"]?.bool == true {
                findings.refuse("failFast", dag["failFast"]!, "That one failure stops other branches cannot be said.")
            }
            return group(
                template,
                dag["tasks"]?.elements ?? [],
                target: dag["target"]?.text,
                at: place,
                scope,
                dependence
            )
        }
        if let stages = template["steps"]?.elements {
            checkOrdering(template, isRun)
            return sequence(template, stages, at: place, scope, dependence)
        }
        let step = leaves.step(key(at: place), template, scope)
        return settle(step, at: place, scope, dependence, spread: nil)
    }

    private func checkOrdering(_ template: ImportNode, _ isRun: Bool) {
        ArgoTemplate.check(template, findings)
        for (key, reason) in ArgoTemplate.refused {
            if let part = template[key] { findings.refuse(key, part, reason) }
        }
        for key in Self.policies where !isRun {
            if let part = template[key] {
                findings.refuse(
                    key,
                    part,
                    "It is said of the template that everything begins with; only steps have it."
                )
            }
        }
    }

    /// A key that is not taken yet.
    func key(at place: Place) -> String {
        let key = StepKey.unique(place.prefix.isEmpty ? place.name : place.prefix, among: taken)
        taken.insert(key)
        return key
    }

    /// Gives a step its conditions, needs and rule.
    func settle(
        _ step: ImportedStep,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        spread: Spread?
    ) -> ArgoTask {
        var step = step
        let conditions = PathPredicate.all(dependence.when).conditions
        step.when = conditions
        step.need(dependence.needs)
        step.need(dependence.asks)
        step.need(scope.asks)
        if let spread {
            step.forEach =
                spread.collects
                ? .object(["in": .string(spread.path), "failures": .string("collect")]) : .string(spread.path)
            step.need(spread.needs)
        }
        if dependence.isPlain {
            // Needs that a condition skipped do not matter; those that failed, or fell with others, do.
            step.rule = step.needs.contains(where: conditional.contains) ? "none_failed" : nil
        } else if dependence.runs.size(upTo: Self.ruleLimit) >= Self.ruleLimit {
            findings.refuse("depends", place.name, "Too many ends of other tasks decide whether it runs.")
        } else if !step.setRule(dependence.runs) {
            findings.refuse("depends", place.name, "What it depends on can never come to be.")
        }
        if !conditions.isEmpty { conditional.insert(step.key) }
        steps.append(step)
        return .step(
            ArgoStep(
                key: step.key,
                runs: dependence.runs,
                isConditional: !conditions.isEmpty,
                isPlain: dependence.isPlain,
                isSpread: spread != nil
            )
        )
    }

    // MARK: Tasks

    /// Whether what depends on a task goes on when it has failed.
    static func continues(_ node: ImportNode) -> Bool { node["continueOn"]?["failed"]?.bool == true }

    /// A task of a template: what it calls, with what, how often.
    ///
    /// - Parameter mayFail: Whether its failure does not count.
    func task(
        _ node: ImportNode,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        mayFail: Bool
    ) -> ArgoTask {
        for (key, part) in node.members where !Self.taskKeys.contains(key) {
            if key == "hooks" || key == "onExit" {
                findings.refuse(key, part, "Hooks cannot be said.")
            } else {
                findings.mistake(part, "Tasks have no such key.")
            }
        }
        if let part = node["continueOn"], !Self.continues(node), part["error"]?.bool == true {
            findings.refuse("continueOn.error", part, "A step fails, or not: errors of the machinery are no other end.")
        }
        let name = node["name"]?.text ?? ""
        let inner = place.prefix.isEmpty ? name : "\(place.prefix).\(name)"
        let result: ArgoTask
        var inside = scope
        switch ArgoLoop(node, scope, findings) {
        case .none:
            result = call(node, key: inner, at: place, scope, dependence, mayFail: mayFail)
        case .items(let items):
            let tasks = items.enumerated().map { index, item in
                inside.item = .literal(item)
                return call(node, key: "\(inner)(\(index))", at: place, inside, dependence, mayFail: mayFail)
            }
            result = .items(tasks, runs: dependence.runs)
        case .each(let path, let needs):
            inside.item = .path(ArgoScope.element, needs: [])
            let spread = Spread(path: path, needs: needs, collects: Self.continues(node))
            result = call(node, key: inner, at: place, inside, dependence, spread: spread, mayFail: mayFail)
        case .refused:
            inside.item = .unknown("the items are known only when the run is under way")
            result = call(node, key: inner, at: place, inside, dependence, mayFail: mayFail)
        }
        if Self.continues(node), let first = result.keys.first { continued.insert(first) }
        if mayFail { tolerated.formUnion(result.keys) }
        return result
    }

    private func call(
        _ node: ImportNode,
        key: String,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        spread: Spread? = nil,
        mayFail: Bool
    ) -> ArgoTask {
        guard let (template, name, templates) = template(of: node, place) else {
            return .items([], runs: dependence.runs)
        }
        guard !place.depth.contains(name), place.depth.count < 50 else {
            findings.refuse("recursion", node, "The template \"\(name)\" calls itself.")
            return .items([], runs: dependence.runs)
        }
        var dependence = dependence
        if let part = node["when"], let text = part.text {
            var condition = ArgoCondition(scope)
            do throws(ArgoCondition.Problem) {
                dependence.when.append(try condition.predicate(of: text))
                dependence.asks += condition.needs
            } catch {
                findings.refuse("when", part, "\"\(text)\" cannot be said: \(error.text).")
            }
        }
        var inside = ArgoScope()
        inside.isAtEnd = isAtEnd
        inside.workflow = parametersPath
        inside.parameters = inputs(of: template, arguments(of: node, scope))
        let there = Place(prefix: key, name: key, depth: place.depth + [name], templates: templates)
        if isSubRun(template, spread: spread, mayFail: mayFail) {
            return subRun(template, at: there, inside, dependence, spread: spread, isRepeated: scope.item != nil)
        }
        guard let spread else { return dissolve(template, at: there, inside, dependence) }
        var step = leaves.step(self.key(at: there), template, inside)
        if step.cache != nil || step.waitFor != nil {
            findings.refuse("withParam", template, "Single items can neither wait nor be remembered.")
            (step.cache, step.waitFor) = (nil, nil)
        }
        return settle(step, at: there, inside, dependence, spread: spread)
    }
}
