/// A workflow written in Swift: the same language as in JSON or YAML, with names that the compiler checks.
///
/// ```swift
/// let order = Workflow("order") {
///     Step("validate").sql("select check_order(($1->'run'->>'order_id')::bigint)")
///     Step("charge").needs("validate").handler("charge")
///         .input(["total": "$.needs.validate.total"])
///         .retry(limit: 5, backoff: .seconds(1)).timeout(.seconds(30))
/// }
/// try await client.define(order)
/// ```
///
/// It says what the JSON would say, and is judged where that is: in the database, by ``Client/validate(_:)`` and
/// ``Client/define(_:)-(Workflow)``.
public struct Workflow: Sendable {
    var members: [String: JSONValue]
    private var steps: [Step]
    private var lastSteps: [Step] = []

    /// - Parameters:
    ///   - name: Each change makes a new version of the workflow with this name.
    ///   - steps: In any order.
    public init(_ name: String, @StepsBuilder steps: () throws -> [Step]) rethrows {
        members = ["workflow": .string(name)]
        self.steps = try steps()
    }

    /// The same as JSON, as ``WorkflowDefinition`` and the database read it.
    public var json: JSONValue {
        var members = members
        members["steps"] = .array(steps.map(\.json))
        if !lastSteps.isEmpty { members["finally"] = .array(lastSteps.map(\.json)) }
        return .object(members)
    }

    public var definition: WorkflowDefinition { WorkflowDefinition(json) }

    func with(_ key: String, _ value: JSONValue) -> Workflow {
        var changed = self
        changed.members[key] = value
        return changed
    }
}

extension Workflow {
    /// What becomes of the rest of a run when a step has failed.
    public enum Failure: String, Sendable {
        /// What does not need the failed step runs on.
        case `continue`
        /// The rest is cancelled.
        case cancel
    }

    /// For people.
    public func description(_ text: String) -> Workflow { with("description", .string(text)) }

    public func onFailure(_ failure: Failure) -> Workflow { with("on_failure", .string(failure.rawValue)) }

    /// A run that is not over so long after its submit is cancelled.
    public func deadline(_ time: Duration) -> Workflow { with("deadline", time.json) }

    /// The run's output: JSON with paths into `run` and `needs`.
    public func output(_ value: JSONValue) -> Workflow { with("output", value) }

    /// What steps have that do not say otherwise.
    ///
    /// ```swift
    /// .defaults { $0.queue("slow").timeout(.seconds(60)) }
    /// ```
    public func defaults(_ policies: (StepPolicies) -> StepPolicies) -> Workflow {
        with("defaults", .object(policies(StepPolicies()).members))
    }

    /// Steps that run when all others have ended, however they ended.
    public func finally(@StepsBuilder steps: () throws -> [Step]) rethrows -> Workflow {
        var changed = self
        changed.lastSteps += try steps()
        return changed
    }
}

/// Puts the steps of a workflow together; loops and conditions are Swift's own.
@resultBuilder
public enum StepsBuilder {
    public static func buildExpression(_ step: Step) -> [Step] { [step] }
    public static func buildExpression<Output>(_ step: TypedStep<Output>) -> [Step] { [step.step] }
    public static func buildExpression(_ steps: [Step]) -> [Step] { steps }
    public static func buildBlock(_ parts: [Step]...) -> [Step] { parts.flatMap(\.self) }
    public static func buildOptional(_ part: [Step]?) -> [Step] { part ?? [] }
    public static func buildEither(first part: [Step]) -> [Step] { part }
    public static func buildEither(second part: [Step]) -> [Step] { part }
    public static func buildArray(_ parts: [[Step]]) -> [Step] { parts.flatMap(\.self) }
    public static func buildLimitedAvailability(_ part: [Step]) -> [Step] { part }
}

extension Client {
    /// Makes a workflow written in Swift a version in the database.
    public func define(_ workflow: Workflow) async throws(MillraceError) -> DefinedWorkflow {
        try await define(workflow.definition)
    }

    /// All that is wrong with a workflow written in Swift.
    public func validate(_ workflow: Workflow) async throws(MillraceError) -> [DefinitionProblem] {
        try await validate(workflow.definition)
    }
}

extension Duration {
    /// Seconds, as definitions write intervals.
    var json: JSONValue {
        components.attoseconds == 0 ? .integer(components.seconds) : .number(seconds)
    }
}
