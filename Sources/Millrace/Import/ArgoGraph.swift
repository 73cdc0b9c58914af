/// Dissolves templates that order others into the steps that do something.
final class ArgoGraph {
    private static let taskKeys: Set<String> = [
        "name", "template", "inline", "templateRef", "dependencies", "depends", "when", "withItems", "withParam",
        "withSequence", "arguments", "continueOn",
    ]
    /// Of one rule, in terms. The server takes rules of 10,000 bytes.
    private static let ruleLimit = 500

    private let templates: [String: ImportNode]
    private let library: [String: ImportNode]
    private let leaves: ArgoTemplate
    private let findings: ImportFindings
    private var steps: [ImportedStep] = []
    private var taken: Set<String> = []
    /// Steps that a condition may skip.
    private var conditional: Set<String> = []
    /// Tasks with `continueOn`, by the first of their steps.
    private var tolerated: Set<String> = []
    private var isAtEnd = false

    init(specs: [ImportNode], library: [String: ImportNode], options: ImportOptions, findings: ImportFindings) {
        self.library = library
        self.findings = findings
        var templates: [String: ImportNode] = [:]
        for spec in specs.reversed() { templates.merge(Self.templates(of: spec, findings)) { $1 } }
        self.templates = templates
        leaves = ArgoTemplate(
            defaults: specs.lazy.compactMap { $0["templateDefaults"] }.first,
            options: options,
            findings: findings
        )
    }

    private static func templates(of spec: ImportNode, _ findings: ImportFindings) -> [String: ImportNode] {
        var templates: [String: ImportNode] = [:]
        for template in spec["templates"]?.elements ?? [] {
            guard let name = template["name"]?.text else {
                findings.mistake(template, "It has no name.")
                continue
            }
            if templates.updateValue(template, forKey: name) != nil {
                findings.mistake(template, "Two templates are called \"\(name)\".")
            }
        }
        return templates
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

    private struct Place {
        /// What stands before the names of tasks within.
        var prefix: String
        var name: String
        /// The templates around it.
        var depth: [String]
        var templates: [String: ImportNode]
    }

    /// What a task is spread over when the run is under way.
    private struct Spread {
        var path: String
        /// The steps that the path asks.
        var needs: [String]
    }

    // MARK: Templates

    private func dissolve(_ template: ImportNode, at place: Place, _ scope: ArgoScope, _ dependence: ArgoDependence)
        -> ArgoTask
    {
        if let dag = template["dag"] {
            checkOrdering(template)
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
            checkOrdering(template)
            return sequence(template, stages, at: place, scope, dependence)
        }
        return leaf(template, at: place, scope, dependence)
    }

    private func checkOrdering(_ template: ImportNode) {
        for (key, reason) in ArgoTemplate.refused {
            if let part = template[key] { findings.refuse(key, part, reason) }
        }
        for key in ["retryStrategy", "timeout", "activeDeadlineSeconds"] {
            if let part = template[key] {
                findings.refuse(key, part, "It is said of a template that orders others; only steps have it.")
            }
        }
    }

    private func leaf(
        _ template: ImportNode,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        spread: Spread? = nil
    ) -> ArgoTask {
        let name = place.prefix.isEmpty ? place.name : place.prefix
        let key = StepKey.unique(name, among: taken)
        taken.insert(key)
        var step = leaves.step(key, template, scope)
        let conditions = PathPredicate.all(dependence.when).conditions
        step.when = conditions
        step.need(dependence.needs)
        step.need(dependence.asks)
        step.need(scope.asks)
        if let spread {
            step.forEach = .string(spread.path)
            step.need(spread.needs)
            if step.cache != nil || step.waitFor != nil {
                findings.refuse("withParam", template, "Single items can neither wait nor be remembered.")
                (step.cache, step.waitFor) = (nil, nil)
            }
        }
        if dependence.isPlain {
            // Needs that a condition skipped do not matter; those that failed, or fell with others, do.
            step.rule = step.needs.contains(where: conditional.contains) ? "none_failed" : nil
        } else if dependence.runs.size(upTo: Self.ruleLimit) >= Self.ruleLimit {
            findings.refuse("depends", place.name, "Too many ends of other tasks decide whether it runs.")
        } else if !step.setRule(dependence.runs) {
            findings.refuse("depends", place.name, "What it depends on can never come to be.")
        }
        if !conditions.isEmpty { conditional.insert(key) }
        steps.append(step)
        return .step(
            ArgoStep(
                key: key,
                runs: dependence.runs,
                isConditional: !conditions.isEmpty,
                isPlain: dependence.isPlain,
                isSpread: spread != nil
            )
        )
    }

    // MARK: DAGs

    private func group(
        _ template: ImportNode,
        _ nodes: [ImportNode],
        target: String?,
        at place: Place,
        _ scope: ArgoScope,
        _ outer: ArgoDependence
    ) -> ArgoTask {
        var named: [String: ImportNode] = [:]
        for node in nodes where named.updateValue(node, forKey: node["name"]?.text ?? "") != nil {
            findings.mistake(node, "Two tasks are called \"\(node["name"]?.text ?? "")\".")
        }
        var depends: [String: ArgoDepends] = [:]
        for (name, node) in named { depends[name] = self.depends(node) }

        var targets = (target.map { $0.split(separator: " ").map(String.init) } ?? []).filter { named[$0] != nil }
        if targets.isEmpty {
            let needed = Set(depends.values.flatMap(\.tasks))
            targets = nodes.compactMap { $0["name"]?.text }.filter { !needed.contains($0) }
        }
        var done: [String: ArgoTask] = [:]
        let first = steps.count
        for name in order(nodes, depends, wanted: target == nil ? nil : targets) {
            let node = named[name]!
            var inside = scope
            inside.outputs = { task, output in Self.output(output, of: done[task]) ?? nil }
            done[name] = task(node, at: place, inside, dependence(node, depends[name], done, outer))
        }
        return finish(template, targets.compactMap { done[$0] }, done, from: first, scope, outer)
    }

    private func depends(_ node: ImportNode) -> ArgoDepends? {
        if let part = node["depends"] {
            if let other = node["dependencies"] {
                findings.mistake(other, "A task has either depends or dependencies.")
            }
            switch ArgoDepends.parse(part.text ?? "") {
            case .success(let depends): return depends
            case .failure(let problem):
                findings.mistake(part, "\"\(part.text ?? "")\" is no expression: \(problem.text).")
                return nil
            }
        }
        let list = node["dependencies"]?.elements?.compactMap(\.text) ?? []
        return list.isEmpty ? nil : .all(list.map { .task($0, nil) })
    }

    /// The tasks, each behind those that it depends on; of a ring, all are named.
    private func order(_ nodes: [ImportNode], _ depends: [String: ArgoDepends], wanted: [String]?) -> [String] {
        var order: [String] = []
        var isDone: [String: Bool] = [:]
        let places = nodes.reduce(into: [:]) { $0[$1["name"]?.text ?? ""] = $1 }
        func visit(_ name: String, _ path: [String]) {
            if isDone[name] == true { return }
            if isDone[name] == false {
                let ring = path[path.firstIndex(of: name)!...].joined(separator: " -> ")
                return findings.mistake(places[name]!, "The tasks depend on each other in a ring: \(ring) -> \(name).")
            }
            isDone[name] = false
            for other in depends[name]?.tasks ?? [] {
                if places[other] == nil {
                    findings.mistake(places[name]!, "It depends on \"\(other)\", which is no task of this template.")
                } else {
                    visit(other, path + [name])
                }
            }
            isDone[name] = true
            order.append(name)
        }
        for name in wanted ?? nodes.compactMap({ $0["name"]?.text }) { visit(name, []) }
        return order
    }

    private func dependence(
        _ node: ImportNode,
        _ depends: ArgoDepends?,
        _ done: [String: ArgoTask],
        _ outer: ArgoDependence
    ) -> ArgoDependence {
        guard let depends else { return outer }
        var continues: [String] = []
        let expression = self.expression(depends, node, done, &continues)
        let tasks = depends.tasks.compactMap { done[$0] }
        // Of a task without a condition, success is as much as its name.
        let isList = depends.isList { done[$0].map { $0.skipped.simplified == .constant(false) } ?? true }
        var dependence = outer
        dependence.isPlain = outer.isPlain && isList && continues.isEmpty && tasks.allSatisfy(\.isPlain)
        // Where a template is not to run, what it holds may not be taken for done by an expression that asks for less.
        dependence.runs = isList || outer.runs == .constant(true) ? expression : outer.runs && expression
        dependence.needs = isList ? tasks.flatMap(\.ends) : []
        return dependence
    }

    private func expression(
        _ depends: ArgoDepends,
        _ node: ImportNode,
        _ done: [String: ArgoTask],
        _ continues: inout [String]
    ) -> RuleExpression {
        switch depends {
        case .all(let parts): return .all(parts.map { expression($0, node, done, &continues) })
        case .any(let parts): return .any(parts.map { expression($0, node, done, &continues) })
        case .not(let inner): return .not(expression(inner, node, done, &continues))
        case .task(let name, let result):
            guard let task = done[name] else { return .constant(true) }
            guard let expression = task.result(result) else {
                findings.mistake(node, "A task has no result \"\(result ?? "")\".")
                return .constant(true)
            }
            guard result == nil, tolerated.contains(task.keys.first ?? "") else { return expression }
            continues.append(name)
            return expression || task.failed
        }
    }

    // MARK: Steps, one after the other

    private func sequence(
        _ template: ImportNode,
        _ stages: [ImportNode],
        at place: Place,
        _ scope: ArgoScope,
        _ outer: ArgoDependence
    ) -> ArgoTask {
        var done: [String: ArgoTask] = [:]
        var last: [ArgoTask] = []
        var dependence = outer
        let first = steps.count
        for stage in stages {
            var tasks: [(name: String, task: ArgoTask)] = []
            for node in stage.elements ?? [stage] {
                let name = node["name"]?.text ?? ""
                if done[name] != nil || tasks.contains(where: { $0.name == name }) {
                    findings.mistake(node, "Two steps are called \"\(name)\".")
                }
                var inside = scope
                inside.outputs = { task, output in Self.output(output, of: done[task]) ?? nil }
                tasks.append((name, task(node, at: place, inside, dependence)))
            }
            for (name, task) in tasks { done[name] = task }
            last = tasks.map(\.task)
            let isTolerated = last.contains { tolerated.contains($0.keys.first ?? "") }
            dependence.isPlain = outer.isPlain && !isTolerated && last.allSatisfy(\.isPlain)
            dependence.needs = last.flatMap(\.ends)
            dependence.runs = .all(
                last.map { tolerated.contains($0.keys.first ?? "") ? $0.settled || $0.failed : $0.settled }
            )
        }
        return finish(template, last, done, from: first, scope, outer)
    }

    private func finish(
        _ template: ImportNode,
        _ targets: [ArgoTask],
        _ done: [String: ArgoTask],
        from first: Int,
        _ scope: ArgoScope,
        _ outer: ArgoDependence
    ) -> ArgoTask {
        var inside = scope
        inside.outputs = { task, output in Self.output(output, of: done[task]) ?? nil }
        var outputs: [String: ArgoValue] = [:]
        for parameter in template["outputs"]?["parameters"]?.elements ?? [] {
            guard let name = parameter["name"]?.text, let from = parameter["valueFrom"]?["parameter"]?.text else {
                continue
            }
            outputs["parameters.\(name)"] = inside.value(of: from)
        }
        return .group(
            ArgoGroup(
                targets: targets,
                keys: steps[first...].map(\.key),
                runs: outer.runs,
                isConditional: !PathPredicate.all(outer.when).conditions.isEmpty,
                outputs: outputs
            )
        )
    }

    private static func output(_ name: String, of task: ArgoTask?) -> ArgoValue? {
        switch task {
        case .step(let step)?:
            .path(
                JSONPathText.path(["needs", step.key]) + (step.isSpread ? "[*]" : "")
                    + name.split(separator: ".").map { "." + JSONPathText.member(String($0)) }.joined(),
                needs: [step.key]
            )
        case .group(let group)?: group.outputs[name]
        case .items?: .unknown("the outputs of a loop are those of several steps")
        case nil: nil
        }
    }

    // MARK: Tasks

    /// A task of a template: what it calls, with what, how often.
    private func task(_ node: ImportNode, at place: Place, _ scope: ArgoScope, _ dependence: ArgoDependence) -> ArgoTask
    {
        for (key, part) in node.members where !Self.taskKeys.contains(key) {
            if key == "hooks" || key == "onExit" {
                findings.refuse(key, part, "Hooks cannot be said.")
            } else {
                findings.mistake(part, "Tasks have no such key.")
            }
        }
        let name = node["name"]?.text ?? ""
        let inner = place.prefix.isEmpty ? name : "\(place.prefix).\(name)"
        let result: ArgoTask
        switch ArgoLoop(node, scope, findings) {
        case .none:
            result = call(node, key: inner, at: place, scope, dependence)
        case .items(let items):
            let tasks = items.enumerated().map { index, item in
                var inside = scope
                inside.item = .literal(item)
                return call(node, key: "\(inner)(\(index))", at: place, inside, dependence)
            }
            result = .items(tasks, runs: dependence.runs)
        case .each(let path, let needs):
            var inside = scope
            inside.item = .path(ArgoScope.element, needs: [])
            result = call(node, key: inner, at: place, inside, dependence, spread: .init(path: path, needs: needs))
        case .refused:
            var inside = scope
            inside.item = .unknown("the items are known only when the run is under way")
            result = call(node, key: inner, at: place, inside, dependence)
        }
        if let part = node["continueOn"], part["failed"]?.bool == true || part["error"]?.bool == true,
            let first = result.keys.first
        {
            tolerated.insert(first)
            findings.leaveBehind(part, "What depends on it goes on, but its failure still fails the run.")
        }
        return result
    }

    private func call(
        _ node: ImportNode,
        key: String,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        spread: Spread? = nil
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
        var arguments: [String: ArgoValue] = [:]
        for parameter in node["arguments"]?["parameters"]?.elements ?? [] {
            guard let name = parameter["name"]?.text else { continue }
            if let value = parameter["value"] {
                arguments[name] = scope.value(of: ArgoValue.text(value.value))
            } else if parameter["valueFrom"] != nil {
                arguments[name] = .unknown("the parameter \(name) comes from elsewhere")
            }
        }
        var inside = ArgoScope()
        inside.isAtEnd = isAtEnd
        inside.parameters = inputs(of: template, arguments)
        let there = Place(prefix: key, name: key, depth: place.depth + [name], templates: templates)
        guard let spread else { return dissolve(template, at: there, inside, dependence) }
        guard template["dag"] == nil, template["steps"] == nil else {
            findings.refuse(
                "withParam",
                node,
                "The items are known only when the run is under way (\(spread.path)), and the template orders several tasks."
            )
            return dissolve(template, at: there, inside, dependence)
        }
        return leaf(template, at: there, inside, dependence, spread: spread)
    }

    private func template(of node: ImportNode, _ place: Place) -> (ImportNode, name: String, [String: ImportNode])? {
        if let inline = node["inline"] { return (inline, inline.path, place.templates) }
        if let reference = node["templateRef"] {
            let (owner, name) = (reference["name"]?.text ?? "", reference["template"]?.text ?? "")
            guard let spec = library[owner] else {
                findings.refuse(
                    "templateRef",
                    reference,
                    "The template \"\(name)\" of \"\(owner)\" is not in the file."
                )
                return nil
            }
            let templates = Self.templates(of: spec, findings)
            guard let template = templates[name] else {
                findings.mistake(reference, "\"\(owner)\" has no template \"\(name)\".")
                return nil
            }
            return (template, "\(owner)/\(name)", templates)
        }
        guard let part = node["template"], let name = part.text else {
            findings.mistake(node, "It names no template.")
            return nil
        }
        guard let template = place.templates[name] else {
            findings.mistake(part, "There is no template \"\(name)\".")
            return nil
        }
        return (template, name, place.templates)
    }

    /// The inputs that a template declares, from what it is given or by default.
    private func inputs(of template: ImportNode, _ arguments: [String: ArgoValue]) -> [String: ArgoValue] {
        var inputs: [String: ArgoValue] = [:]
        for parameter in template["inputs"]?["parameters"]?.elements ?? [] {
            guard let name = parameter["name"]?.text else { continue }
            inputs[name] =
                arguments[name]
                ?? (parameter["value"] ?? parameter["default"]).map { .literal(.string(ArgoValue.text($0.value))) }
                ?? .unknown("the parameter \(name) is not given")
        }
        return inputs
    }
}
