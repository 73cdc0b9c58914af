/// The workflows that jobs call: files beside the one that is brought in, each of them a workflow of its own here.
///
/// A called workflow sees the caller's `github` and `vars`, and what it is given as `inputs`; its run is the job.
final class GitHubCalls {
    private let file: ImportFile
    private let workflow: String
    private let options: ImportOptions
    private let findings: ImportFindings
    private var called: [String: Called] = [:]
    /// Files that are being read, the outermost first.
    private var open: [String] = []
    private(set) var workflows: [ImportedWorkflow] = []

    /// A workflow that can be called.
    struct Called {
        var name: String
        /// What it declares of its inputs.
        fileprivate var inputs: ImportNode?
    }

    init(besides file: ImportFile, workflow: String, _ options: ImportOptions, _ findings: ImportFindings) {
        self.file = file
        self.workflow = workflow
        self.options = options
        self.findings = findings
    }

    /// The workflow that a job calls; none where it calls none, or none that can be had, which `findings` tell.
    func workflow(of job: ImportNode) -> Called? {
        guard let uses = job["uses"], let text = uses.text else { return nil }
        if let secrets = job["secrets"] {
            findings.leaveBehind(secrets, "Secrets are not in a run's input: who executes its steps has them.")
        }
        guard let match = text.wholeMatch(of: /\.\/(?:[^@]*\/)?([^\/@]+\.ya?ml)/) else {
            let reason = text.hasPrefix("./") ? "which is no file of workflows" : "which is in another repository"
            findings.refuse("uses", uses, "It calls the workflow \(text), \(reason).")
            return nil
        }
        let name = String(match.1)
        guard !open.contains(name), name != fileName else {
            findings.refuse("uses", uses, "It calls the workflow \(text), which calls itself by that.")
            return nil
        }
        if let known = called[name] { return known }
        return read(name, uses)
    }

    private var fileName: String { String(file.path.split(separator: "/").last ?? "") }

    private func read(_ name: String, _ uses: ImportNode) -> Called? {
        let path = file.path.contains("/") ? file.path.prefix(through: file.path.lastIndex(of: "/")!) + name : name
        let root: ImportNode?
        do throws(MillraceError) {
            let text = String(decoding: try DefinitionFile.contents(of: path), as: UTF8.self)
            root = try GitHubImporter.root(of: text, path: name)
        } catch {
            let reason = error.code == .unreadable ? "there is no such file beside this one" : error.message
            findings.refuse("uses", uses, "It calls the workflow \(uses.text ?? ""), and \(reason).")
            return nil
        }
        guard let root, let declared = Self.declaration(root) else {
            findings.refuse("uses", uses, "It calls the workflow \(uses.text ?? ""), which is none that can be called.")
            return nil
        }
        open.append(name)
        defer { open.removeLast() }
        let stem = name.prefix { $0 != "." }
        let result = Called(name: WorkflowName.valid("\(workflow).\(stem)"), inputs: declared["inputs"])
        called[name] = result
        var importer = GitHubImporter(options: options, findings: findings, root: root, calls: self)
        let child = importer.workflow(called: result.name)
        workflows.append(child)
        return result
    }

    /// What a workflow says of being called: nothing but that it may be, perhaps.
    private static func declaration(_ root: ImportNode) -> ImportNode? {
        guard let on = root["on"] else { return nil }
        if on.text == "workflow_call" || on.elements?.contains(where: { $0.text == "workflow_call" }) == true {
            return on
        }
        return on.members.first { $0.name == "workflow_call" }?.node
    }

    /// What a run of a called workflow comes to: the outputs of its jobs, by its own names for them.
    static func outputs(of root: ImportNode, _ jobs: [String: GitHubJob], _ findings: ImportFindings) -> JSONValue? {
        guard let outputs = declaration(root)?["outputs"] else { return nil }
        var members: [String: JSONValue] = [:]
        for (name, node) in outputs.members {
            guard
                let match = node["value"]?.text?.wholeMatch(
                    of: /\s*\$\{\{\s*jobs\.([\w-]+)\.outputs\.([\w-]+)\s*\}\}\s*/
                ),
                let job = jobs[String(match.1)], job.steps.count == 1, job.spread == nil
            else {
                findings.refuse("outputs", node, "Only the output of one job can be handed on.")
                continue
            }
            members[name] = .string(JSONPathText.path(["needs", job.steps[0], String(match.2)]))
        }
        return .object(members)
    }
}

extension GitHubCalls.Called {
    /// What a run of it is given.
    func input(of job: ImportNode, _ condition: GitHubCondition, _ findings: ImportFindings) -> JSONValue {
        var values: [String: JSONValue] = [:]
        for (name, declared) in inputs?.members ?? [] {
            if let part = job["with"]?[name] {
                values[name] = condition.value(of: part, findings)
            } else if let value = declared["default"] {
                values[name] = ImportedValue.literal(value.value)
            } else if declared["required"]?.bool == true {
                findings.mistake(job, "It calls a workflow that requires the input \(name), and does not give it.")
            }
        }
        for (name, part) in job["with"]?.members ?? []
        where inputs?.members.contains(where: { $0.name == name }) != true {
            findings.mistake(part, "The workflow has no such input.")
        }
        return .object(["github": .string("$.run.github"), "vars": .string("$.run.vars"), "inputs": .object(values)])
    }
}

extension GitHubCondition {
    /// A value as a step's input has it: known, a path, or text around paths.
    fileprivate func value(of node: ImportNode, _ findings: ImportFindings) -> JSONValue? {
        if let known = GitHubExpression.value(node, matrix: matrix) { return ImportedValue.literal(known) }
        var texts = [""]
        var paths: [String] = []
        for piece in GitHubExpression.pieces(of: node.text ?? "") {
            guard let expression = piece.expression else {
                texts[texts.count - 1] += piece.text
                continue
            }
            switch GitHubExpression.parse(expression).flatMap(reference) {
            case .success(.path(let path)):
                paths.append(path)
                texts.append("")
            case .success(.known(let value)):
                texts[texts.count - 1] += GitHubExpression.text(value)
            case .failure(let problem):
                findings.refuse("expressions", node, "\"\(piece.text)\" cannot be said in an input: \(problem.text).")
                return nil
            }
        }
        return paths.count == 1 && texts == ["", ""] ? .string(paths[0]) : ImportedValue.template(texts, paths)
    }

    private enum Reference {
        case known(JSONValue)
        case path(String)
    }

    private func reference(_ expression: GitHubExpression) -> Result<Reference, Problem> {
        if let known = expression.value(matrix: matrix) { return .success(.known(known)) }
        do throws(Problem) {
            switch expression {
            case .path(let parts): return .success(.path(try path(parts)))
            // In an input a list is a list, and not its text.
            case .call("fromjson", let arguments) where arguments.count == 1: return reference(arguments[0])
            default: throw Problem("it is computed when the run is under way")
            }
        } catch {
            return .failure(error)
        }
    }
}
