/// A template of Argo that does something, as a step.
struct ArgoTemplate {
    static let refused = [
        "parallelism": "How many of its steps are executed at once cannot be said.",
        "synchronization": "Locks between runs cannot be said.",
        "memoize": "What a template that orders others comes to is not remembered.",
        "daemon": "Steps that go on while others run cannot be said.",
    ]
    private static let kinds: Set<String> = [
        "container", "containerSet", "script", "resource", "http", "data", "plugin", "suspend",
    ]

    private static let keys: Set<String> = kinds.union(refused.keys).union([
        "name", "inputs", "outputs", "metadata", "dag", "steps", "volumes", "initContainers", "sidecars",
        "archiveLocation", "activeDeadlineSeconds", "retryStrategy", "failFast", "tolerations", "schedulerName",
        "priorityClassName", "priority", "serviceAccountName", "automountServiceAccountToken", "executor",
        "hostAliases",
        "securityContext", "podSpecPatch", "affinity", "nodeSelector", "metrics", "timeout", "annotations",
    ])

    /// Keys that no template has.
    static func check(_ template: ImportNode, _ findings: ImportFindings) {
        for (name, part) in template.members where !keys.contains(name) {
            findings.mistake(part, "Templates have no such key.")
        }
        if let part = template["failFast"], part.bool == true {
            findings.refuse("failFast", part, "That one failure stops other branches cannot be said.")
        }
    }

    let defaults: ImportNode?
    let options: ImportOptions
    let findings: ImportFindings

    func step(_ key: String, _ template: ImportNode, _ scope: ArgoScope) -> ImportedStep {
        var step = ImportedStep(key: key)
        guard
            let kind = template.members.first(where: {
                Self.kinds.contains($0.name) && !($0.node.isNull && $0.name != "suspend")
            })
        else {
            findings.mistake(template, "It neither does something nor orders others.")
            return step
        }
        Self.check(template, findings)
        for (name, reason) in Self.refused where name != "memoize" && (name != "daemon" || template[name]?.bool == true)
        {
            if let part = template[name] { findings.refuse(name, part, reason) }
        }
        policies(of: template, scope, &step, defaults: defaults)
        artifacts(of: template)
        step.cache = template["memoize"].flatMap { cache($0, scope) }
        step.input = input(template, scope)
        step.work(options)
        if kind.name == "suspend" {
            suspend(kind.node, scope, &step)
        } else if options.handler == .shell {
            shell(template, kind.name, kind.node, scope, &step)
        }
        return step
    }

    /// Inputs that are known or can be asked for.
    private func input(_ template: ImportNode, _ scope: ArgoScope) -> JSONValue? {
        var members: [String: JSONValue] = [:]
        for (name, value) in scope.parameters.sorted(by: { $0.key < $1.key }) {
            members[name] = value.input
            if case .unknown(let reason) = value {
                findings.leaveBehind("\(template.path): input \(name)", "\(reason).", at: template.place)
            }
        }
        return members.isEmpty ? nil : .object(members)
    }

    /// For a time, or until somebody gives the run a signal that is called like the step.
    private func suspend(_ node: ImportNode, _ scope: ArgoScope, _ step: inout ImportedStep) {
        step.settings = nil
        step.expected = nil
        guard let part = node["duration"] else {
            step.waitFor = .object(["signal": .string(step.key)])
            return
        }
        guard let seconds = seconds(part, scope), options.timeScale > 0 else { return }
        step.waitFor = .object(["duration": .number(seconds * options.timeScale)])
    }

    /// What was computed before under a key stands for what would be computed again.
    private func cache(_ memoize: ImportNode, _ scope: ArgoScope) -> JSONValue? {
        guard let key = memoize["key"] else {
            findings.mistake(memoize, "It has no key.")
            return nil
        }
        guard let age = memoize["maxAge"] else {
            findings.refuse("memoize", memoize, "A cache without maxAge would keep what it has for ever.")
            return nil
        }
        let value: JSONValue
        switch scope.value(of: ArgoValue.text(key.value)) {
        case .literal(let literal): value = .string(ArgoValue.text(literal))
        case .path(let path, _): value = .string(path)
        case .template, .unknown:
            findings.refuse(
                "memoize",
                key,
                "Its key is put together of values that are known only when the run is under way."
            )
            return nil
        }
        let name = memoize["cache"]?["configMap"]?["name"]?.text ?? ""
        return seconds(age, scope).map {
            .object(["key": .object(["cache": .string(name), "key": value]), "ttl": .number($0)])
        }
    }

    /// Files that tasks hand on are theirs, not the engine's.
    private func artifacts(of template: ImportNode) {
        for part in ["inputs", "outputs"].compactMap({ template[$0]?["artifacts"] }) {
            if options.handler == .shell {
                findings.refuse("artifacts", part, "The handler shell carries no files from step to step.")
            } else {
                findings.leaveBehind(part, "Files that tasks hand on are for whoever executes the steps.")
            }
        }
    }

    // MARK: Policies

    /// How often and how long it is tried.
    func policies(of template: ImportNode, _ scope: ArgoScope, _ step: inout ImportedStep, defaults: ImportNode? = nil)
    {
        step.retry = retry(template["retryStrategy"] ?? defaults?["retryStrategy"], scope)
        let parts = ["timeout", "activeDeadlineSeconds"].compactMap { template[$0] ?? defaults?[$0] }
        step.timeout = parts.compactMap { seconds($0, scope) }.min().map(Self.duration)
    }

    static func duration(_ seconds: Double) -> String {
        "\(seconds == seconds.rounded() ? "\(Int64(seconds))" : "\(seconds)")s"
    }

    private func retry(_ strategy: ImportNode?, _ scope: ArgoScope) -> JSONValue? {
        guard let strategy else { return nil }
        // Without a limit Argo tries for ever; this is the most that can be said.
        var retry: [String: JSONValue] = ["limit": .integer(10_000)]
        for (name, part) in strategy.members {
            switch name {
            case "limit":
                guard let text = scope.value(of: ArgoValue.text(part.value)).text, let limit = Int64(text), limit >= 0
                else {
                    findings.refuse(
                        "retryStrategy.limit",
                        part,
                        "It is no whole number, or known only when the run is under way."
                    )
                    continue
                }
                retry["limit"] = .integer(min(limit, 10_000))
            case "retryPolicy":
                switch part.text {
                case "Always", "OnFailure": break
                // Errors are those of the machinery: the agent is gone.
                case "OnError": retry["on"] = .array([.string("lost")])
                default: findings.refuse("retryPolicy", part, "Which errors are tried again cannot be said.")
                }
            case "backoff":
                for (name, part) in part.members {
                    switch name {
                    case "duration": if let seconds = seconds(part, scope) { retry["backoff"] = .number(seconds) }
                    case "cap": if let seconds = seconds(part, scope) { retry["max"] = .number(seconds) }
                    case "factor":
                        if let text = scope.value(of: ArgoValue.text(part.value)).text, let factor = Double(text),
                            factor >= 1
                        {
                            retry["factor"] = .number(factor)
                        } else {
                            findings.refuse("factor", part, "It is no number from 1 up.")
                        }
                    default: findings.refuse("backoff.\(name)", part, "It cannot be said of retries.")
                    }
                }
            case "affinity": findings.leaveBehind(part, "It is about pods.")
            default: findings.refuse("retryStrategy.\(name)", part, "It cannot be said of retries.")
            }
        }
        return .object(retry)
    }

    /// `20`, `"20s"`, `"1h30m"`.
    func seconds(_ part: ImportNode, _ scope: ArgoScope) -> Double? {
        let units = ["ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400]
        if let text = scope.value(of: ArgoValue.text(part.value)).text?.trimmed, !text.isEmpty {
            if let seconds = Double(text), seconds >= 0, seconds < 1e9 { return seconds }
            let matches = text.matches(of: /([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|h|d)/)
            if matches.map({ String($0.0) }).joined() == text, !matches.isEmpty {
                return matches.reduce(0) { $0 + Double($1.1)! * units[String($1.2)]! }
            }
        }
        findings.refuse(
            part.path.split(separator: ".").last.map(String.init) ?? "",
            part,
            "It is no duration, or known only when the run is under way."
        )
        return nil
    }

    // MARK: Commands

    private func shell(
        _ template: ImportNode,
        _ kind: String,
        _ node: ImportNode,
        _ scope: ArgoScope,
        _ step: inout ImportedStep
    ) {
        guard kind == "container" || kind == "script" else {
            return findings.refuse(kind, node, "The handler shell runs programs; this is none.")
        }
        for part in template["outputs"]?["parameters"]?.elements ?? [] {
            findings.refuse("outputs", part, "Outputs that a program leaves in files are not collected.")
        }
        for key in ["initContainers", "sidecars"] {
            if let part = template[key] { findings.refuse(key, part, "The handler shell runs no containers.") }
        }
        var words = ((node["command"]?.elements ?? []) + (node["args"]?.elements ?? [])).compactMap { text($0, scope) }
        guard node["command"]?.elements?.isEmpty == false else {
            return findings.refuse("command", node, "It runs what its image says; the file names no program.")
        }
        var environment: [String: JSONValue] = [:]
        for variable in node["env"]?.elements ?? [] {
            guard let name = variable["name"]?.text, let value = variable["value"] else {
                findings.refuse("env", variable, "Its value is not in the file.")
                continue
            }
            environment[name] = text(value, scope).map { .string($0) }
        }
        var lines = ["set -e"]
        if let source = node["source"] {
            lines += ["script=$(mktemp)", "trap 'rm -f \"$script\"' EXIT"]
            lines += ["printf '%s' \(ShellText.quoted(text(source, scope) ?? "")) > \"$script\""]
            words = words.map(ShellText.quoted) + ["\"$script\""]
        } else {
            words = words.map(ShellText.quoted)
        }
        lines += ["result=$(\(words.joined(separator: " ")))"]
        lines += ["printf '{\"result\":\"%s\"}\\n' \"$(printf '%s' \"$result\" | \(ShellText.jsonFilter))\""]
        step.shell(
            .string(lines.joined(separator: "\n") + "\n"),
            environment: environment,
            directory: node["workingDir"].flatMap { text($0, scope) }
        )
    }

    private func text(_ node: ImportNode, _ scope: ArgoScope) -> String? {
        // Braces that Argo would leave alone are text.
        let value = scope.value(of: ArgoValue.text(node.value))
        if let text = value.text { return text }
        if case .unknown(let reason) = value {
            findings.refuse("expressions", node, "It cannot be put into a command: \(reason).")
        } else {
            findings.refuse("expressions", node, "Its value is known only when the run is under way.")
        }
        return nil
    }
}
