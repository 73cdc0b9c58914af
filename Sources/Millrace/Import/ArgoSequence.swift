/// Templates that order tasks one after the other, and what templates that order others give out.
extension ArgoGraph {
    func sequence(
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
                tasks.append((name, task(node, at: place, inside, dependence, mayFail: Self.continues(node))))
            }
            for (name, task) in tasks { done[name] = task }
            last = tasks.map(\.task)
            let isContinued = last.contains { continued.contains($0.keys.first ?? "") }
            dependence.isPlain = outer.isPlain && !isContinued && last.allSatisfy(\.isPlain)
            dependence.needs = last.flatMap(\.ends)
            dependence.runs = .all(
                last.map { continued.contains($0.keys.first ?? "") ? $0.settled || $0.failed : $0.settled }
            )
        }
        return finish(template, last, done, from: first, scope, outer)
    }

    func finish(
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

    static func output(_ name: String, of task: ArgoTask?) -> ArgoValue? {
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
}
