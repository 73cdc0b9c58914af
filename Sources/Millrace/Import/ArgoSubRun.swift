/// Templates that become workflows of their own, whose runs are steps: those that order others and are spread over a list
/// that is known when the run is under way, tried again or bounded in time as a whole, or may fail as a whole.
final class ArgoChildren {
    /// The workflow that they belong to.
    let workflow: String
    private(set) var workflows: [ImportedWorkflow] = []
    private var names: [String: String] = [:]

    init(of workflow: String) {
        self.workflow = workflow
    }

    /// The name of a template's workflow, which is made where there is none yet.
    ///
    /// - Parameter known: What the file says of its inputs; another workflow for each.
    func name(
        of template: String,
        known: [String: JSONValue],
        _ make: (_ name: String) -> ImportedWorkflow
    ) -> String {
        let identity = "\(template) \(JSONValue.object(known).json)"
        if let name = names[identity] { return name }
        let base = WorkflowName.valid("\(workflow).\(template)")
        let taken = Set(names.values)
        var name = base
        var number = 1
        while taken.contains(name) {
            number += 1
            name = "\(base)#\(number)"
        }
        names[identity] = name
        workflows.append(make(name))
        return name
    }
}

extension ArgoGraph {
    /// What a sub-run gets beside the inputs of its template: the parameters of the whole workflow.
    private static let inputs = "inputs"
    private static let parameters = "workflow"

    /// Whether a call of a template that orders others is a run of its own.
    func isSubRun(_ template: ImportNode, spread: Spread?, mayFail: Bool) -> Bool {
        guard template["dag"] != nil || template["steps"] != nil else { return false }
        return spread != nil || mayFail || Self.policies.contains { template[$0] != nil }
    }

    /// A step that is a run of the template.
    ///
    /// - Parameter isRepeated: Whether it is called for each of many items, which shall not be as many workflows.
    func subRun(
        _ template: ImportNode,
        at place: Place,
        _ scope: ArgoScope,
        _ dependence: ArgoDependence,
        spread: Spread?,
        isRepeated: Bool
    ) -> ArgoTask {
        let known = scope.parameters.compactMapValues { value in
            if case .literal(let literal) = value, !isRepeated { literal } else { nil }
        }
        var step = ImportedStep(key: key(at: place))
        step.workflow = children.name(of: place.depth.last ?? "", known: known) { name in
            let graph = ArgoGraph(within: self, templates: place.templates, parameters: ["run", Self.parameters])
            return graph.workflow(called: name, template, at: place, scope, known)
        }
        var inputs: [String: JSONValue] = [:]
        for (name, value) in scope.parameters {
            if let value = value.input { inputs[name] = value }
        }
        step.input = .object([
            Self.inputs: .object(inputs), Self.parameters: .string(JSONPathText.path(parametersPath)),
        ])
        leaves.policies(of: template, scope, &step)
        return settle(step, at: place, scope, dependence, spread: spread)
    }

    private func workflow(
        called name: String,
        _ template: ImportNode,
        at place: Place,
        _ scope: ArgoScope,
        _ known: [String: JSONValue]
    ) -> ImportedWorkflow {
        var inside = ArgoScope()
        inside.workflow = parametersPath
        for (name, value) in scope.parameters {
            if case .unknown = value {
                inside.parameters[name] = value
            } else {
                inside.parameters[name] =
                    known[name].map { .literal($0) } ?? .path(JSONPathText.path(["run", Self.inputs, name]), needs: [])
            }
        }
        let start = Place(prefix: "", name: place.name, depth: place.depth, templates: place.templates)
        let result = dissolve(template, at: start, inside, ArgoDependence(), isRun: true)
        var workflow = ImportedWorkflow(name: name, steps: steps)
        workflow.tolerate(tolerated)
        if case .group(let group) = result {
            var parameters: [String: JSONValue] = [:]
            for (name, value) in group.outputs {
                parameters[String(name.dropFirst("parameters.".count))] = value.input
            }
            if !parameters.isEmpty { workflow.output = .object(["parameters": .object(parameters)]) }
        }
        return workflow
    }
}
