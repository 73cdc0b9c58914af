/// What is to come of a rehearsal.
public struct RehearsalExpectation: Sendable {
    /// The state in which a step ends, and what else is known of it.
    public struct OfStep: Sendable, Hashable {
        public var state: String?
        public var attempts: Int?
        public var input: JSONValue?
        public var output: JSONValue?
        public var error: String?
    }

    /// The run's state.
    public var run: String?
    /// By key.
    public var steps: [String: OfStep] = [:]
    /// The order in which tries start; those of one element in any order among themselves.
    public var path: [[String]]?

    public init() {}

    init(_ part: ScriptPart) throws(MillraceError) {
        let parts = try part.members(["run", "steps", "path"])
        run = try parts["run"].map { (part) throws(MillraceError) in try part.text }
        for (key, step) in try parts["steps"]?.all ?? [:] {
            steps[key] = try OfStep(step)
        }
        guard let order = parts["path"] else { return }
        var path: [[String]] = []
        for element in try order.elements {
            var names: [String] = []
            for name in element.isArray ? try element.elements : [element] { names.append(try name.text) }
            path.append(names)
        }
        self.path = path
    }

    /// What does not hold, in sentences; nothing where all does.
    func violations(_ report: RehearsalReport) -> [String] {
        var violations: [String] = []
        if let run, run != report.state {
            violations.append("The run is \(report.state), not \(run).")
        }
        for (key, expected) in steps.sorted(by: { $0.key < $1.key }) {
            guard let step = report.steps.first(where: { $0.key == key }) else {
                violations.append("There is no step \"\(key)\".")
                continue
            }
            violations += expected.violations(step, report.starts.last { $0.step == key }?.input)
        }
        if let path, let departure = Self.departure(path, report.starts.map(\.step)) { violations.append(departure) }
        return violations
    }

    /// Where the path taken leaves the expected one.
    private static func departure(_ expected: [[String]], _ taken: [String]) -> String? {
        var rest = taken[...]
        for (place, names) in expected.enumerated() {
            let found = Array(rest.prefix(names.count))
            guard found.sorted() == names.sorted() else {
                let wanted = names.joined(separator: ", ")
                let met = found.isEmpty ? "the end" : found.joined(separator: ", ")
                return "The path at \(place + 1): \(wanted) was expected, \(met) came. It is \(taken.joined(separator: ", "))."
            }
            rest = rest.dropFirst(names.count)
        }
        return rest.isEmpty ? nil : "The path goes on with \(rest.joined(separator: ", "))."
    }
}

extension RehearsalExpectation.OfStep {
    init(_ part: ScriptPart) throws(MillraceError) {
        if let state = part.value.text {
            self.state = state
            return
        }
        let parts = try part.members(["state", "attempts", "input", "output", "error"])
        state = try parts["state"].map { (part) throws(MillraceError) in try part.text }
        error = try parts["error"].map { (part) throws(MillraceError) in try part.text }
        (input, output) = (parts["input"]?.value, parts["output"]?.value)
        if let count = parts["attempts"] {
            guard case .integer(let number) = count.value else { throw count.wrong("is not a number") }
            attempts = Int(number)
        }
    }

    fileprivate func violations(_ step: RehearsalReport.Step, _ lastInput: JSONValue?) -> [String] {
        var violations: [String] = []
        func compare<Value: Equatable>(_ what: String, _ expected: Value?, _ met: Value?, _ text: (Value) -> String) {
            guard let expected, expected != met else { return }
            violations.append(
                "Step \"\(step.key)\": \(what) \(met.map(text) ?? "missing"), not \(text(expected))."
            )
        }
        compare("state is", state, step.state) { $0 }
        compare("attempts are", attempts, step.attempts) { "\($0)" }
        compare("the error is", error, step.error) { "\"\($0)\"" }
        compare("the output is", output, step.output) { $0.json }
        compare("the input is", input, lastInput) { $0.json }
        return violations
    }
}
