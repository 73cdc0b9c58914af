/// A workflow of Argo: a step a task that does something; templates that only order others are dissolved into them.
///
/// The file may hold several documents: one Workflow (or CronWorkflow, or template of one), and the WorkflowTemplates that it
/// refers to.
struct ArgoImporter: Importer {
    /// What says where pods run and what becomes of them.
    private static let aboutPods: Set<String> = [
        "serviceAccountName", "automountServiceAccountToken", "executor", "volumes", "volumeClaimTemplates",
        "volumeClaimGC",
        "nodeSelector", "affinity", "tolerations", "imagePullSecrets", "hostNetwork", "hostAliases", "dnsPolicy",
        "dnsConfig",
        "podGC", "ttlStrategy", "podPriorityClassName", "podPriority", "schedulerName", "securityContext",
        "podSpecPatch",
        "podMetadata", "podDisruptionBudget", "artifactRepositoryRef", "artifactGC", "archiveLogs", "metrics",
        "workflowMetadata", "priority",
    ]
    private static let carried: Set<String> = [
        "entrypoint", "arguments", "templates", "templateDefaults", "onExit", "workflowTemplateRef", "hooks",
        "activeDeadlineSeconds",
    ]
    private static let refused = [
        "parallelism": "How many steps of a run are executed at once cannot be said.",
        "synchronization": "Locks between runs cannot be said.",
        "suspend": "That runs begin in a pause is for who submits them to say.",
        "shutdown": "It stops a run that is under way.",
        "retryStrategy": "That a whole run is tried again cannot be said.",
    ]

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        let documents = try YAML.documents(file.text).map { ImportNode($0) }.filter { !$0.isNull }
        guard let main = documents.first(where: { kind($0).hasSuffix("Workflow") }) ?? documents.first,
            kind(main).hasSuffix("Workflow") || kind(main).hasSuffix("WorkflowTemplate"),
            var spec = main["spec"]
        else { throw MillraceError(.malformed, "This is no workflow of Argo: it has no kind Workflow with a spec.") }
        for other in documents where kind(other).hasSuffix("Workflow") && other.place != main.place {
            findings.mistake(other["metadata"] ?? other, "A file holds one Workflow; this is another.")
        }
        if kind(main) == "CronWorkflow" {
            for (name, part) in spec.members where name != "workflowSpec" && name != "workflowMetadata" {
                findings.leaveBehind(part, "When the workflow is started: runs are started by submit.")
            }
            spec = spec["workflowSpec"] ?? spec
        }
        var specs = [spec]
        var library: [String: ImportNode] = [:]
        for document in documents {
            if let name = document["metadata"]?["name"]?.text, let spec = document["spec"] { library[name] = spec }
        }
        if let reference = spec["workflowTemplateRef"] {
            guard let name = reference["name"]?.text, let template = library[name] else {
                throw MillraceError(
                    .unsupported,
                    "The workflow refers to the template \"\(reference["name"]?.text ?? "")\", which is not in the file.",
                    hint: "Put both into one file, with --- between them."
                )
            }
            specs.append(template)
        }
        for spec in specs { check(spec, findings) }
        let metadata = main["metadata"]
        var name = metadata?["name"]?.text ?? metadata?["generateName"]?.text ?? ""
        while name.hasSuffix("-") { name.removeLast() }
        return build(file.workflowName(name, options), specs, library, options, findings)
    }

    private static func kind(_ document: ImportNode) -> String { document["kind"]?.text ?? "" }

    private static func check(_ spec: ImportNode, _ findings: ImportFindings) {
        for (name, part) in spec.members where !carried.contains(name) && !part.isNull {
            if let reason = refused[name] {
                if part.value != .bool(false) { findings.refuse(name, part, reason) }
            } else if aboutPods.contains(name) {
                findings.leaveBehind(part, "It is about pods.")
            } else {
                findings.mistake(part, "Workflows have no such key.")
            }
        }
    }

    private static func build(
        _ name: String,
        _ specs: [ImportNode],
        _ library: [String: ImportNode],
        _ options: ImportOptions,
        _ findings: ImportFindings
    ) -> ImportedWorkflow {
        var workflow = ImportedWorkflow(name: name)
        // What the workflow says goes before what its template says.
        var parameters: [String: JSONValue] = [:]
        var declared: Set<String> = []
        for parameter in specs.reversed().flatMap({ $0["arguments"]?["parameters"]?.elements ?? [] }) {
            guard let name = parameter["name"]?.text else { continue }
            declared.insert(name)
            if let value = parameter["value"] { parameters[name] = .string(ArgoValue.text(value.value)) }
        }
        if !parameters.isEmpty { workflow.input = .object(parameters) }

        let children = ArgoChildren(of: name)
        let graph = ArgoGraph(
            specs: specs,
            library: library,
            children: children,
            options: options,
            findings: findings
        )
        guard let entrypoint = specs.lazy.compactMap({ $0["entrypoint"] }).first, let start = entrypoint.text else {
            findings.mistake(specs[0], "It has no entrypoint.")
            return workflow
        }
        workflow.steps = graph.build(start, named: entrypoint, parameters: declared)
        if let exit = exit(specs, findings) {
            workflow.finally = graph.build(
                exit.text ?? "",
                named: exit,
                prefix: "onExit",
                parameters: declared,
                isAtEnd: true
            )
        }
        if let deadline = specs.lazy.compactMap({ $0["activeDeadlineSeconds"] }).first {
            workflow.deadline = graph.leaves.seconds(deadline, ArgoScope()).map(ArgoTemplate.duration)
        }
        workflow.tolerate(graph.tolerated)
        workflow.children = children.workflows
        return workflow
    }

    /// The template for the end: `onExit`, or the hook of that name.
    private static func exit(_ specs: [ImportNode], _ findings: ImportFindings) -> ImportNode? {
        for hooks in specs.compactMap({ $0["hooks"] }) {
            for (name, hook) in hooks.members where name != "exit" || hook["expression"] != nil {
                findings.refuse("hooks", hook, "What happens at other times than the end cannot be said.")
            }
        }
        return specs.lazy.compactMap { $0["onExit"] ?? $0["hooks"]?["exit"]?["template"] }.first
    }
}
