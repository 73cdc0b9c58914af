/// The `run` texts of a job as one script for `/bin/sh`, each in a shell of its own.
///
/// Only asked for by `--handler shell`. What a script cannot do is refused: actions, containers, values that are known only
/// when the run is under way, which a script would take for its own text.
struct GitHubScript {
    let job: ImportNode
    let workflow: ImportNode
    let matrix: [String: JSONValue]
    let findings: ImportFindings

    private static let stepKeys: Set<String> = [
        "id", "name", "if", "uses", "run", "with", "env", "shell", "working-directory", "continue-on-error",
        "timeout-minutes",
    ]

    func apply(to step: inout ImportedStep) {
        for key in ["container", "services"] {
            if let part = job[key] { findings.refuse(key, part, "The handler shell runs no containers.") }
        }
        if job["uses"] != nil { return }
        guard let steps = job["steps"]?.elements, !steps.isEmpty else {
            return findings.mistake(job, "The job has no steps.")
        }
        var environment = variables(workflow)
        environment.merge(variables(job)) { $1 }
        let outputs = outputs()
        var lines = ["set -e"]
        if !outputs.isEmpty {
            lines += ["outputs=$(mktemp -d)", "trap 'rm -rf \"$outputs\"' EXIT"]
        }
        for (number, part) in steps.enumerated() {
            lines += script(part, number: number, keepsOutput: !outputs.isEmpty)
        }
        lines += Self.answer(outputs)
        step.shell(.string(lines.joined(separator: "\n") + "\n"), environment: environment.mapValues { .string($0) })
    }

    private func script(_ part: ImportNode, number: Int, keepsOutput: Bool) -> [String] {
        for (key, node) in part.members where !Self.stepKeys.contains(key) {
            findings.mistake(node, "Steps have no such key.")
        }
        if let uses = part["uses"] {
            findings.refuse("uses", uses, "Actions such as \(uses.text ?? "") are programs of GitHub's.")
            return []
        }
        for key in ["if", "timeout-minutes"] {
            if let node = part[key] { findings.refuse("steps.\(key)", node, "It cannot be said of a part of a job.") }
        }
        guard let run = part["run"], let text = value(run, run.text ?? "") else { return [] }
        for file in ["GITHUB_ENV", "GITHUB_PATH"] where text.contains(file) {
            findings.refuse(file, run, "Steps of a job hand on no variables through \(file).")
        }
        let shell = part["shell"] ?? job["defaults"]?["run"]?["shell"] ?? workflow["defaults"]?["run"]?["shell"]
        if let shell, shell.text != "bash", shell.text != "sh" {
            findings.refuse("shell", shell, "Its text is not for bash or sh.")
        }
        let command = shell?.text == "sh" ? "sh -e" : "bash -eo pipefail"
        let directory =
            part["working-directory"] ?? job["defaults"]?["run"]?["working-directory"]
            ?? workflow["defaults"]?["run"]?["working-directory"]
        var line = "\(command) -c \(ShellText.quoted(text)) >&2"
        let variables = variables(part).sorted { $0.key < $1.key }.map { "\($0.key)=\(ShellText.quoted($0.value))" }
        if !variables.isEmpty { line = "env \(variables.joined(separator: " ")) \(line)" }
        if let directory, let path = value(directory, directory.text ?? "") {
            line = "(cd \(ShellText.quoted(path)) && \(line))"
        }
        if part["continue-on-error"]?.bool == true { line += " || true" }
        var lines: [String] = []
        if let name = (part["name"] ?? part["id"])?.text {
            lines.append("# " + name.split(whereSeparator: \.isNewline).joined(separator: " "))
        }
        if keepsOutput {
            let file = part["id"]?.text ?? "\(number)"
            lines += [
                "GITHUB_OUTPUT=\"$outputs\"/\(ShellText.quoted(file)); export GITHUB_OUTPUT; : > \"$GITHUB_OUTPUT\""
            ]
        }
        return lines + [line]
    }

    /// The outputs of the job: their names, the step and the name there.
    private func outputs() -> [(name: String, step: String, output: String)] {
        (job["outputs"]?.members ?? []).compactMap { name, node in
            guard let match = node.text?.wholeMatch(of: /\s*\$\{\{\s*steps\.([\w-]+)\.outputs\.([\w-]+)\s*\}\}\s*/)
            else {
                findings.refuse("outputs", node, "Only the output of one step can be handed on.")
                return nil
            }
            return (name, String(match.1), String(match.2))
        }
    }

    /// Prints the outputs as one JSON object, which becomes the step's output. Values are lines `name=value`.
    private static func answer(_ outputs: [(name: String, step: String, output: String)]) -> [String] {
        guard !outputs.isEmpty else { return [] }
        let read = "value() { sed -n \"s/^$2=//p\" \"$outputs/$1\" | tail -n 1 | \(ShellText.jsonFilter); }"
        let members = outputs.map { #""\#($0.name)":"%s""# }.joined(separator: ",")
        let values = outputs.map { "\"$(value \(ShellText.quoted($0.step)) \(ShellText.quoted($0.output)))\"" }.joined(
            separator: " "
        )
        return [read, "printf '{\(members)}\\n' \(values)"]
    }

    private func variables(_ node: ImportNode) -> [String: String] {
        var variables: [String: String] = [:]
        for (name, part) in node["env"]?.members ?? [] {
            guard name.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil else {
                findings.refuse("env", part, "\(name) cannot be a variable.")
                continue
            }
            if let text = value(part, GitHubExpression.text(part.value)) { variables[name] = text }
        }
        return variables
    }

    private func value(_ node: ImportNode, _ text: String) -> String? {
        let value = GitHubExpression.text(text, matrix: matrix)
        if value == nil {
            findings.refuse(
                "expressions",
                node,
                "It holds an expression whose value is known only when the run is under way."
            )
        }
        return value
    }
}
