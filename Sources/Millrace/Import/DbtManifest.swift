import Foundation

/// The `manifest.json` that dbt writes beside what it compiles: a step a node that dbt executes.
///
/// Models, seeds, snapshots, tests, unit tests and functions become steps, keyed by their unique ids. Sources are there
/// already; ephemeral models are part of the statements of who refers to them, who need what they need; the project's hooks
/// stand before and behind everything else.
struct DbtImporter: Importer {
    private struct File: Decodable {
        var metadata: Metadata?
        var nodes: [String: Node]
        var sources: [String: Present]?
        var unitTests: [String: Node]?
        var functions: [String: Node]?
        /// Lists since dbt 1.0.
        var disabled: [String: Present]?
        var exposures: [String: Present]?
        var metrics: [String: Present]?
        var semanticModels: [String: Present]?
        var savedQueries: [String: Present]?

        enum CodingKeys: String, CodingKey {
            case metadata, nodes, sources, functions, disabled, exposures, metrics
            case unitTests = "unit_tests"
            case semanticModels = "semantic_models"
            case savedQueries = "saved_queries"
        }
    }

    private struct Metadata: Decodable {
        var projectName: String?
        var schema: String?

        enum CodingKeys: String, CodingKey {
            case projectName = "project_name"
            case schema = "dbt_schema_version"
        }
    }

    /// Something of which only the name counts.
    private struct Present: Decodable { init(from decoder: any Decoder) {} }

    struct Node: Decodable {
        var resourceType: String
        var name: String?
        var fqn: [String]?
        var description: String?
        var dependsOn: DependsOn?
        var config: Config?
        var tags: [String]?
        var index: Int?

        struct DependsOn: Decodable { var nodes: [String]? }
        struct Config: Decodable {
            var enabled: Bool?
            var materialized: String?
        }

        enum CodingKeys: String, CodingKey {
            case name, fqn, description, config, tags, index
            case resourceType = "resource_type"
            case dependsOn = "depends_on"
        }
    }

    /// What dbt executes, and the command that executes one of it.
    private static let commands = [
        "model": "run", "seed": "seed", "snapshot": "snapshot", "test": "test", "unit_test": "test", "function": "run",
    ]

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        let manifest: File
        let utf8 = Data(file.bytes)
        do {
            manifest = try JSONDecoder().decode(File.self, from: utf8)
        } catch {
            throw MillraceError(
                .malformed,
                "This is no manifest.json of dbt.",
                detail: JSONProblem.describe(error, in: utf8)
            )
        }
        var graph = DbtGraph(sources: Set(manifest.sources?.keys.map { $0 } ?? []))
        let all = manifest.nodes
            .merging(manifest.unitTests ?? [:]) { $1 }
            .merging(manifest.functions ?? [:]) { $1 }
        graph.disabled = Set(manifest.disabled?.keys.map { $0 } ?? [])
        var hooks: [(id: String, node: Node)] = []
        for (id, node) in all.sorted(by: { $0.key < $1.key }) {
            if node.config?.enabled == false {
                graph.disabled.insert(id)
            } else if node.resourceType == "operation" {
                hooks.append((id, node))
            } else if node.config?.materialized == "ephemeral" {
                graph.ephemeral[id] = node.dependsOn?.nodes ?? []
            } else if commands[node.resourceType] != nil {
                graph.nodes[id] = node
            } else if node.resourceType == "analysis" {
                findings.leaveBehind(id, "dbt does not execute analyses.")
            } else {
                findings.refuse(node.resourceType, id, "Nodes of the type \"\(node.resourceType)\" are not known.")
            }
        }
        for id in graph.disabled.sorted() where all[id] != nil || manifest.disabled?[id] != nil {
            findings.leaveBehind(id, "It is disabled.")
        }
        for (title, parts) in [
            ("exposures", manifest.exposures), ("metrics", manifest.metrics),
            ("semantic models", manifest.semanticModels),
            ("saved queries", manifest.savedQueries),
        ] {
            if let count = parts?.count, count > 0 {
                findings.leaveBehind(title, "dbt does not execute them (\(count)).")
            }
        }
        let steps = graph.order().map { id in
            step(id, graph.nodes[id]!, graph.needs(of: id, waitsForTests: options.waitsForTests, findings), options)
        }
        if steps.isEmpty { findings.mistake("", "The manifest has nothing that dbt executes.") }
        var workflow = ImportedWorkflow(name: manifest.metadata?.projectName ?? "", steps: steps)
        addHooks(hooks, to: &workflow, options, findings)
        return workflow
    }

    private static func step(_ id: String, _ node: Node, _ needs: [String], _ options: ImportOptions) -> ImportedStep {
        var step = ImportedStep(key: id)
        step.need(needs)
        step.description = node.description.flatMap { $0.trimmed.isEmpty ? nil : $0.trimmed }
        step.work(options)
        if options.handler == .shell, let command = commands[node.resourceType] {
            // As arguments, past any shell; a selector that begins with its method is no option, whatever the name is.
            let selector = "fqn:" + (node.fqn ?? [node.name ?? id]).joined(separator: ".")
            step.shell(.array(["dbt", command, "--select", selector].map { .string($0) }))
        }
        return step
    }

    /// What `on-run-start` says comes before everything, what `on-run-end` says at the end, one after the other.
    private static func addHooks(
        _ hooks: [(id: String, node: Node)],
        to workflow: inout ImportedWorkflow,
        _ options: ImportOptions,
        _ findings: ImportFindings
    ) {
        var first: [ImportedStep] = []
        for hook in hooks.sorted(by: { ($0.node.index ?? 0, $0.id) < ($1.node.index ?? 0, $1.id) }) {
            if options.handler == .shell {
                findings.refuse("hooks", hook.id, "dbt has no command that executes a single hook.")
            }
            var step = ImportedStep(key: hook.id)
            step.work(options)
            if hook.node.tags?.contains("on-run-end") == true {
                step.need(workflow.finally.last.map { [$0.key] } ?? [])
                workflow.finally.append(step)
            } else {
                step.need(first.last.map { [$0.key] } ?? [])
                first.append(step)
            }
        }
        guard let last = first.last?.key else { return }
        for number in workflow.steps.indices where workflow.steps[number].needs.isEmpty {
            workflow.steps[number].needs = [last]
        }
        workflow.steps = first + workflow.steps
    }
}

/// Who needs whom among what dbt executes.
struct DbtGraph {
    var nodes: [String: DbtImporter.Node] = [:]
    /// Models that are no tables of their own, and what they refer to.
    var ephemeral: [String: [String]] = [:]
    var disabled: Set<String> = []
    let sources: Set<String>
    /// Tests that must have ended before a node, by the node; computed when it is first asked for.
    private var gates: [String: [String]]?

    init(sources: Set<String>) {
        self.sources = sources
    }

    /// What a node needs: its references without sources, and in place of an ephemeral model what that needs.
    mutating func needs(of id: String, waitsForTests: Bool, _ findings: ImportFindings) -> [String] {
        var needs: [String] = []
        var seen: Set<String> = []
        if waitsForTests, nodes[id]!.resourceType == "unit_test" {
            // A unit test stands before its model, on what the model reads.
            for model in references(of: id) { collect(references(of: model), of: id, &needs, &seen, findings) }
        } else {
            collect(references(of: id), of: id, &needs, &seen, findings)
        }
        if waitsForTests {
            if gates == nil { gates = findGates() }
            for test in gates?[id] ?? [] where seen.insert(test).inserted { needs.append(test) }
        }
        return needs
    }

    private func references(of id: String) -> [String] {
        nodes[id]?.dependsOn?.nodes ?? ephemeral[id] ?? []
    }

    private func collect(
        _ references: [String],
        of id: String,
        _ needs: inout [String],
        _ seen: inout Set<String>,
        _ findings: ImportFindings?
    ) {
        for reference in references where seen.insert(reference).inserted && !sources.contains(reference) {
            if let inner = ephemeral[reference] {
                collect(inner, of: id, &needs, &seen, findings)
            } else if disabled.contains(reference) {
                findings?.mistake(id, "It depends on \(reference), which is disabled.")
            } else {
                // What is no node at all is named by the server.
                needs.append(reference)
            }
        }
    }

    /// Needs first as far as there is an order, by name among equals: a manifest has none of its own.
    func order() -> [String] {
        var order: [String] = []
        var isPlaced: Set<String> = []
        for root in nodes.keys.sorted() {
            // A stack of its own: a project may be deeper than a thread's.
            var stack = [(root, false)]
            while let (id, isDone) = stack.popLast() {
                if isDone {
                    order.append(id)
                } else if isPlaced.insert(id).inserted {
                    stack.append((id, true))
                    let needs = references(of: id).filter {
                        (nodes[$0] != nil || ephemeral[$0] != nil) && !isPlaced.contains($0)
                    }
                    for need in needs.sorted().reversed() { stack.append((need, false)) }
                }
            }
        }
        return order.filter { nodes[$0] != nil }
    }

    /// As `dbt build` has it: a node waits for the tests of what stands above it, where all that a test reads does.
    ///
    /// Only for the first nodes of which that is true: those below them wait for them.
    private func findGates() -> [String: [String]] {
        var gates: [String: [String]] = [:]
        var reads: [String: Set<String>] = [:]
        for (id, node) in nodes {
            switch node.resourceType {
            case "test":
                var needs: [String] = []
                var seen: Set<String> = []
                collect(references(of: id), of: id, &needs, &seen, nil)
                if !needs.isEmpty { reads[id] = Set(needs) }
            case "unit_test":
                for model in references(of: id) { gates[model, default: []].append(id) }
            default: break
            }
        }
        let order = order().filter { nodes[$0]!.resourceType != "test" && nodes[$0]!.resourceType != "unit_test" }
        var needs: [String: [String]] = [:]
        for id in order {
            var seen: Set<String> = []
            collect(references(of: id), of: id, &needs[id, default: []], &seen, nil)
        }
        for (test, read) in reads {
            // What stands above each node of what the test reads; one walk a test over the nodes below them.
            var above: [String: Set<String>] = [:]
            for id in order {
                var found: Set<String> = []
                for need in needs[id]! {
                    found.formUnion(above[need] ?? [])
                    if read.contains(need) { found.insert(need) }
                }
                guard !found.isEmpty else { continue }
                above[id] = found
                if found == read, !needs[id]!.contains(where: { above[$0] == read }) {
                    gates[id, default: []].append(test)
                }
            }
        }
        return gates.mapValues { $0.sorted() }
    }
}
