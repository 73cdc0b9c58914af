/// A matrix that the engine spreads one step over: one whose values are known only when the run is under way, or of which
/// so many run at once, or whose first failure ends the others. A graph of steps could say none of these.
struct GitHubSpread {
    private(set) var forEach: JSONValue
    /// What an element gets as its `matrix`.
    private(set) var input: JSONValue

    /// The job whose output it is spread over.
    private(set) var need: String?

    /// - Returns: None where the job has no such matrix; `findings` have the reason where it has one that cannot be spread.
    ///
    /// - Parameter continues: Whether a failure does not count.
    init?(_ job: ImportNode, needs: [String], continues: Bool, _ findings: ImportFindings) {
        guard let strategy = job["strategy"], let matrix = strategy["matrix"] else { return nil }
        let parallel = strategy["max-parallel"]
        let failFast = strategy["fail-fast"]
        let source: JSONValue
        if let (name, path, need) = Self.path(matrix, needs) {
            source = .string(path)
            self.need = need
            input = .object([name: .string("$.element")])
        } else if parallel != nil || failFast?.bool == true {
            guard let combinations = GitHubMatrix(matrix, findings)?.combinations else { return nil }
            source = .array(combinations.map { .object($0.values.mapValues(ImportedValue.literal)) })
            input = .string("$.element")
        } else {
            return nil
        }
        var settings: [String: JSONValue] = ["in": source]
        if continues {
            settings["failures"] = .string("collect")
        } else if let failFast, failFast.bool != true {
            findings.refuse(
                "fail-fast",
                failFast,
                "Of a step that is spread over a matrix the first failure ends the others, or failures do not count."
            )
        }
        if let parallel {
            if let number = parallel.number, number >= 1, number == number.rounded() {
                settings["parallel"] = .integer(Int64(number))
            } else {
                findings.refuse("max-parallel", parallel, "It is no number, or computed when the run is under way.")
            }
        }
        forEach = settings.count == 1 ? source : .object(settings)
    }

    /// What an element has of this name.
    func path(of name: String) -> String {
        if case .object(let members) = input {
            members[name] == nil ? "$.element." + JSONPathText.member(name) : "$.element"
        } else {
            "$.element." + JSONPathText.member(name)
        }
    }

    /// `matrix: { target: ${{ fromJSON(needs.list.outputs.targets) }} }`: the name, the list as a path, and whose output it is.
    private static func path(_ matrix: ImportNode, _ needs: [String]) -> (name: String, path: String, need: String?)? {
        guard matrix.members.count == 1, let (name, values) = matrix.members.first, let text = values.text,
            case .success(let expression) = GitHubExpression.parse(condition: text)
        else { return nil }
        var inner = expression
        if case .call("fromjson", let arguments) = expression, arguments.count == 1 { inner = arguments[0] }
        guard case .path(let parts) = inner else { return nil }
        let names = parts.compactMap { if case .name(let name) = $0 { name } else { nil } }
        guard names.count == parts.count else { return nil }
        switch names.first {
        case "needs" where names.count == 4 && names[2] == "outputs" && needs.contains(names[1]):
            return (name, JSONPathText.path(["needs", names[1], names[3]]), names[1])
        case "github", "inputs", "vars": return (name, JSONPathText.path(["run"] + names), nil)
        default: return nil
        }
    }
}
