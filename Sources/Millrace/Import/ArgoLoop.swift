/// The items over which a task of Argo is repeated, as far as the file has them.
enum ArgoLoop {
    /// The task is no loop.
    case none
    case items([JSONValue])
    /// The path of a list that is known when the run is under way, and the steps that it asks.
    case each(String, needs: [String])
    /// The items are not in the file.
    case refused

    init(_ node: ImportNode, _ scope: ArgoScope, _ findings: ImportFindings) {
        if let items = node["withItems"]?.elements {
            self = .items(items.map(\.value))
        } else if let part = node["withItems"] ?? node["withParam"] {
            self = Self.list(part, scope, findings)
        } else if let part = node["withSequence"] {
            self = Self.sequence(part, scope, findings)
        } else {
            self = .none
        }
    }

    private static func list(_ part: ImportNode, _ scope: ArgoScope, _ findings: ImportFindings) -> ArgoLoop {
        switch scope.value(of: part.text ?? "") {
        case .literal(let value):
            if case .array(let items)? = try? JSONValue(json: ArgoValue.text(value)) { return .items(items) }
            findings.mistake(part, "It is no list in JSON.")
        case .path(let path, let needs):
            return .each(path, needs: needs)
        case .template:
            findings.refuse("withParam", part, "The items are known only when the run is under way.")
        case .unknown(let reason):
            findings.refuse("withParam", part, "The items are not known: \(reason).")
        }
        return .refused
    }

    private static func sequence(_ part: ImportNode, _ scope: ArgoScope, _ findings: ImportFindings) -> ArgoLoop {
        func number(_ name: String) -> Int? {
            guard let node = part[name] else { return nil }
            if let text = scope.value(of: ArgoValue.text(node.value)).text, let number = Int(text) { return number }
            findings.refuse("withSequence", node, "It is no whole number, or known only when the run is under way.")
            return 0
        }
        let start = number("start") ?? 0
        let count = number("count")
        let end = number("end")
        guard (count == nil) != (end == nil) else {
            findings.mistake(part, "It has either count or end.")
            return .refused
        }
        let length = count ?? (abs(end! - start) + 1)
        guard (0...100_000).contains(length) else {
            findings.mistake(part, "It has \(length) items; a workflow has 100,000 steps at most.")
            return .refused
        }
        let step = (end ?? start) < start ? -1 : 1
        let format = part["format"]?.text
        return .items((0..<length).map { .string(formatted(start + $0 * step, format)) })
    }

    /// `%d`, `%03d`, `%x` and text around it.
    private static func formatted(_ number: Int, _ format: String?) -> String {
        guard let format, let match = format.firstMatch(of: /%(0?)([0-9]{0,2})([dxX])/) else {
            return format ?? "\(number)"
        }
        var digits = match.3 == "d" ? String(number) : String(number, radix: 16, uppercase: match.3 == "X")
        let width = Int(match.2) ?? 0
        if digits.count < width {
            digits = String(repeating: match.1 == "0" ? "0" : " ", count: width - digits.count) + digits
        }
        return format.replacingCharacters(in: match.range, with: digits)
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
