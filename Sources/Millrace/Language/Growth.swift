/// What a run gets while it runs: further steps, and needs of steps that it has.
///
/// ```swift
/// try await client.addSteps(
///     run,
///     Growth {
///         for page in pages { Step("scan-\(page)").handler("scan").settings(["page": .integer(page)]) }
///     }.edge("deliver", needs: pages.map { "scan-\($0)" }))
/// ```
public struct Growth: Sendable {
    private var steps: [Step]
    private var edges: [String: [JSONValue]] = [:]

    /// - Parameter steps: Their needs may name steps of the run, and each other.
    public init(@StepsBuilder steps: () throws -> [Step] = { [] }) rethrows {
        self.steps = try steps()
    }

    /// A pending step of the run needs others from now on.
    public func edge(_ step: String, needs keys: [String]) -> Growth {
        var changed = self
        changed.edges[step, default: []] += keys.map(JSONValue.string)
        return changed
    }

    public func edge(_ step: String, needs keys: String...) -> Growth { edge(step, needs: keys) }

    /// The same as JSON, as `millrace.add_steps` takes it.
    public var json: JSONValue {
        var members: [String: JSONValue] = [:]
        if !steps.isEmpty { members["steps"] = .array(steps.map(\.json)) }
        if !edges.isEmpty { members["edges"] = .object(edges.mapValues(JSONValue.array)) }
        return .object(members)
    }
}
