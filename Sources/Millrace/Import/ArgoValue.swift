/// What a text of an Argo template comes to: `{{inputs.parameters.message}}`, `hello`, `{{item}} of {{workflow.name}}`.
indirect enum ArgoValue {
    /// Known now.
    case literal(JSONValue)
    /// A path in the run's input or in the output of a step, and the steps that it asks.
    case path(String, needs: [String])
    /// Text around such paths: the pieces before, between and behind them.
    case template([String], paths: [String], needs: [String])
    /// Known when the run is under way, but by no path.
    case unknown(String)

    /// As the text into which Argo would put it.
    var text: String? {
        if case .literal(let value) = self { Self.text(value) } else { nil }
    }

    /// As a part of a step's input; none where it is not known.
    var input: JSONValue? {
        switch self {
        case .literal(let value): ImportedValue.literal(value)
        case .path(let path, _): .string(path)
        case .template(let texts, let paths, _): ImportedValue.template(texts, paths)
        case .unknown: nil
        }
    }

    static func text(_ value: JSONValue) -> String {
        switch value {
        case .string(let text): text
        case .null: ""
        default: value.json
        }
    }
}

/// What texts within a template can refer to.
struct ArgoScope {
    /// The template's own inputs.
    var parameters: [String: ArgoValue] = [:]
    /// Where the workflow's parameters stand.
    var workflow = ["run"]
    /// The item of a loop.
    var item: ArgoValue?
    /// Whether what became of the run's other steps can be asked for.
    var isAtEnd = false
    /// Outputs of the tasks beside it, by the name of the task and what is asked of it: `result`, `parameters.x`.
    var outputs: (_ task: String, _ output: String) -> ArgoValue? = { _, _ in nil }

    static let endedState = "$.ended.state"
    static let element = "$.element"

    /// The steps whose outputs the inputs ask.
    var asks: [String] {
        parameters.sorted { $0.key < $1.key }.flatMap { parameter -> [String] in
            switch parameter.value {
            case .path(_, let needs), .template(_, _, let needs): needs
            case .literal, .unknown: []
            }
        }
    }

    /// A text with its references.
    func value(of text: String) -> ArgoValue {
        let pieces = Self.pieces(of: text)
        if pieces.count == 1, let reference = pieces[0].reference { return resolve(reference) }
        // The last piece is the one that text goes on with.
        var texts = [""]
        var paths: [String] = []
        var needs: [String] = []
        for piece in pieces {
            guard let reference = piece.reference else {
                texts[texts.count - 1] += piece.text
                continue
            }
            switch resolve(reference) {
            case .literal(let value):
                texts[texts.count - 1] += ArgoValue.text(value)
            case .path(let path, let keys):
                texts.append("")
                paths.append(path)
                needs += keys
            case .template(let inner, let others, let keys):
                texts[texts.count - 1] += inner[0]
                texts += inner.dropFirst()
                paths += others
                needs += keys
            case .unknown(let reason):
                return .unknown(reason)
            }
        }
        return paths.isEmpty ? .literal(.string(texts[0])) : .template(texts, paths: paths, needs: needs)
    }

    static func pieces(of text: String) -> [(text: String, reference: String?)] {
        var pieces: [(String, String?)] = []
        var rest = text[...]
        while let start = rest.firstRange(of: "{{"), let end = rest[start.upperBound...].firstRange(of: "}}") {
            if start.lowerBound > rest.startIndex { pieces.append((String(rest[..<start.lowerBound]), nil)) }
            pieces.append(
                (String(rest[start.lowerBound..<end.upperBound]), rest[start.upperBound..<end.lowerBound].trimmed)
            )
            rest = rest[end.upperBound...]
        }
        if !rest.isEmpty || pieces.isEmpty { pieces.append((String(rest), nil)) }
        return pieces
    }

    func resolve(_ reference: String) -> ArgoValue {
        guard !reference.hasPrefix("=") else { return .unknown("{{\(reference)}} is an expression") }
        let parts = reference.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let unknown = ArgoValue.unknown("nothing is known of {{\(reference)}}")
        switch (parts[0], parts.count) {
        case ("inputs", 3...) where parts[1] == "parameters":
            return parameters[parts[2...].joined(separator: ".")] ?? unknown
        case ("workflow", 3...) where parts[1] == "parameters":
            return .path(JSONPathText.path(workflow + [parts[2...].joined(separator: ".")]), needs: [])
        case ("workflow", 2) where parts[1] == "status" && isAtEnd:
            return .path(Self.endedState, needs: [])
        case ("item", 1):
            return item ?? unknown
        case ("item", _):
            return member(parts.dropFirst()) ?? unknown
        case ("tasks", 4...), ("steps", 4...):
            guard let index = parts.firstIndex(of: "outputs"), index > 1 else { return unknown }
            return outputs(parts[1..<index].joined(separator: "."), parts[(index + 1)...].joined(separator: "."))
                ?? unknown
        default:
            return unknown
        }
    }

    private func member(_ names: ArraySlice<String>) -> ArgoValue? {
        switch item {
        case .path(let path, let needs)?:
            return .path(names.reduce(path) { "\($0).\(JSONPathText.member($1))" }, needs: needs)
        case .literal(var value)?:
            for name in names {
                guard case .object(let members) = value, let next = members[name] else { return nil }
                value = next
            }
            return .literal(value)
        default: return nil
        }
    }
}
