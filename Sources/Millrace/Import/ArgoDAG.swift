/// Templates that order tasks by what they depend on.
extension ArgoGraph {
    func group(
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
        let order = order(nodes, depends, wanted: target == nil ? nil : targets)
        let continues = Set(order.filter { Self.continues(named[$0]!) })
        let mayFail = ArgoTolerance(order, depends, continues: continues, targets: targets).tolerated
        for name in order {
            let node = named[name]!
            var inside = scope
            inside.outputs = { task, output in Self.output(output, of: done[task]) ?? nil }
            let dependence = dependence(node, depends[name], done, outer)
            done[name] = task(node, at: place, inside, dependence, mayFail: mayFail.contains(name))
        }
        return finish(template, targets.compactMap { done[$0] }, done, from: first, scope, outer)
    }

    func depends(_ node: ImportNode) -> ArgoDepends? {
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
    func order(_ nodes: [ImportNode], _ depends: [String: ArgoDepends], wanted: [String]?) -> [String] {
        var order: [String] = []
        var isDone: [String: Bool] = [:]
        let places = nodes.reduce(into: [:]) { $0[$1["name"]?.text ?? ""] = $1 }
        // Chains may be long: no recursion.
        var open: [(name: String, below: ArraySlice<String>)] = []
        func enter(_ name: String) {
            isDone[name] = false
            open.append((name, (depends[name]?.tasks ?? [])[...]))
        }
        for name in wanted ?? nodes.compactMap({ $0["name"]?.text }) where isDone[name] == nil {
            enter(name)
            while let (name, below) = open.last {
                guard let next = below.first else {
                    isDone[name] = true
                    order.append(name)
                    open.removeLast()
                    continue
                }
                open[open.count - 1].below.removeFirst()
                if places[next] == nil {
                    findings.mistake(places[name]!, "It depends on \"\(next)\", which is no task of this template.")
                } else if isDone[next] == false {
                    let ring = open.map(\.name).drop { $0 != next }.joined(separator: " -> ")
                    findings.mistake(places[next]!, "The tasks depend on each other in a ring: \(ring) -> \(next).")
                } else if isDone[next] == nil {
                    enter(next)
                }
            }
        }
        return order
    }

    func dependence(
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

    func expression(
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
            guard result == nil, continued.contains(task.keys.first ?? "") else { return expression }
            continues.append(name)
            return expression || task.failed
        }
    }
}
