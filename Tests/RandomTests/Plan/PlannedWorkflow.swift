import Millrace

/// A random workflow.
struct PlannedWorkflow: Sendable {
    var name: String
    var steps: [PlannedStep]
    var finally: [PlannedStep] = []
    var cancelsOnFailure = false
    var deadline: Double?
    /// The step whose value its runs come to.
    var result: String

    var json: JSONValue {
        var members: [String: JSONValue] = [
            "workflow": .string(name), "steps": .array(steps.map(\.json)),
            "output": ["v": .string("$.needs.\(result).v")],
        ]
        if cancelsOnFailure { members["on_failure"] = "cancel" }
        if !finally.isEmpty { members["finally"] = .array(finally.map(\.json)) }
        if let deadline { members["deadline"] = .number(deadline) }
        return .object(members)
    }

    /// Names of signals that its steps wait for.
    var signals: [String] {
        (steps + finally).compactMap { step in
            if case .wait(let wait) = step.work, case .signal(let name) = wait.kind { name } else { nil }
        }
    }
}
