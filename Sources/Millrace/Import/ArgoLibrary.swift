/// Where templates are found, and what they are given.
extension ArgoGraph {
    static func templates(of spec: ImportNode, _ findings: ImportFindings) -> [String: ImportNode] {
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

    func template(of node: ImportNode, _ place: Place) -> (ImportNode, name: String, [String: ImportNode])? {
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

    /// What a task gives the template that it calls.
    func arguments(of node: ImportNode, _ scope: ArgoScope) -> [String: ArgoValue] {
        var arguments: [String: ArgoValue] = [:]
        for parameter in node["arguments"]?["parameters"]?.elements ?? [] {
            guard let name = parameter["name"]?.text else { continue }
            if let value = parameter["value"] {
                arguments[name] = scope.value(of: ArgoValue.text(value.value))
            } else if parameter["valueFrom"] != nil {
                arguments[name] = .unknown("the parameter \(name) comes from elsewhere")
            }
        }
        return arguments
    }

    /// The inputs that a template declares, from what it is given or by default.
    func inputs(of template: ImportNode, _ arguments: [String: ArgoValue]) -> [String: ArgoValue] {
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
