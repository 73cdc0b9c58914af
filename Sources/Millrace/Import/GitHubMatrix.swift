/// The combinations of a matrix of GitHub Actions.
struct GitHubMatrix {
    /// A combination's values, in the order in which they were given.
    struct Combination {
        private(set) var names: [String] = []
        private(set) var values: [String: JSONValue] = [:]

        mutating func set(_ name: String, _ value: JSONValue) {
            if values.updateValue(value, forKey: name) == nil { names.append(name) }
        }

        /// What GitHub shows behind the job's name.
        var title: String {
            names.flatMap { Self.scalars(values[$0] ?? .null) }.joined(separator: ", ")
        }

        private static func scalars(_ value: JSONValue) -> [String] {
            switch value {
            case .array(let elements): elements.flatMap(scalars)
            case .object(let members): members.sorted { $0.key < $1.key }.flatMap { scalars($0.value) }
            default: [GitHubExpression.text(value)]
            }
        }
    }

    /// GitHub's own bound.
    static let limit = 256

    private(set) var combinations: [Combination] = []

    /// - Returns: None where the matrix is only known when the run is under way, or is wrong; `findings` have the reason.
    init?(_ node: ImportNode, _ findings: ImportFindings) {
        guard node.isMapping else {
            findings.refuse(
                "matrix",
                node,
                "It is computed when the run is under way; only a matrix that is written out can be expanded."
            )
            return nil
        }
        var original: [Combination] = [Combination()]
        var dimensions: Set<String> = []
        for (name, values) in node.members where name != "include" && name != "exclude" {
            guard let elements = values.elements else {
                if values.text?.contains("${{") == true {
                    findings.refuse("matrix", values, "Its values are computed when the run is under way.")
                } else {
                    findings.mistake(values, "It is no list of values.")
                }
                return nil
            }
            if let dynamic = elements.first(where: { $0.value.json.contains("${{") }) {
                findings.refuse("matrix", dynamic, "It is computed when the run is under way.")
                return nil
            }
            dimensions.insert(name)
            original = original.flatMap { combination in
                elements.map { element in
                    var combination = combination
                    combination.set(name, element.value)
                    return combination
                }
            }
            guard original.count <= 100_000 else { break }
        }
        if dimensions.isEmpty { original = [] }

        guard let excluded = Self.entries(node["exclude"], findings),
            let included = Self.entries(node["include"], findings)
        else { return nil }
        for entry in excluded {
            for (name, value) in entry where !dimensions.contains(name) {
                findings.mistake(value, "The matrix has no values of that name.")
            }
            original.removeAll { combination in entry.allSatisfy { combination.values[$0.name] == $0.node.value } }
        }
        combinations = original
        for entry in included {
            // An entry joins every combination whose own values it does not contradict; else it is one by itself.
            let joined = original.indices.filter { index in
                entry.allSatisfy { name, node in
                    !dimensions.contains(name) || original[index].values[name] == node.value
                }
            }
            for index in joined {
                for (name, node) in entry { combinations[index].set(name, node.value) }
            }
            if joined.isEmpty {
                var combination = Combination()
                for (name, node) in entry { combination.set(name, node.value) }
                combinations.append(combination)
            }
        }
        guard (1...Self.limit).contains(combinations.count) else {
            findings.mistake(node, "It has \(combinations.count) combinations; a matrix has 1 to \(Self.limit).")
            return nil
        }
    }

    private static func entries(_ node: ImportNode?, _ findings: ImportFindings) -> [[(
        name: String, node: ImportNode
    )]]? {
        guard let node else { return [] }
        guard let elements = node.elements, elements.allSatisfy(\.isMapping) else {
            if node.text?.contains("${{") == true {
                findings.refuse("matrix", node, "It is computed when the run is under way.")
            } else {
                findings.mistake(node, "It is no list of combinations.")
            }
            return nil
        }
        return elements.map(\.members)
    }
}
