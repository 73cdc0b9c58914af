/// When a step starts and how it is tried: what a workflow's defaults may say as well.
public protocol HasPolicies: Sendable {
    /// The same with one key of the language more, or with another value.
    ///
    /// For keys that have no method of their own yet.
    func with(key: String, _ value: JSONValue) -> Self
}

/// The policies of a workflow's defaults.
public struct StepPolicies: HasPolicies {
    var members: [String: JSONValue] = [:]

    public func with(key: String, _ value: JSONValue) -> StepPolicies {
        var changed = self
        changed.members[key] = value
        return changed
    }
}

/// When a step may start, by how its needs have ended.
public struct Rule: Sendable, Hashable, ExpressibleByStringLiteral {
    let text: String

    /// An expression over needs: `a.completed && (b.failed || c.skipped)`.
    public init(_ expression: String) { text = expression }
    public init(stringLiteral expression: String) { text = expression }

    /// All have completed; what a step has that says nothing.
    public static let allCompleted = Rule("all_completed")
    /// All have ended, however.
    public static let allDone = Rule("all_done")
    /// None has failed; some may have been skipped.
    public static let noneFailed = Rule("none_failed")
    public static let allFailed = Rule("all_failed")
    /// As soon as one has completed.
    public static let anyCompleted = Rule("any_completed")
}

extension HasPolicies {
    /// The code that executes it.
    public func handler(_ name: String) -> Self { with(key: "handler", .string(name)) }
    public func rule(_ rule: Rule) -> Self { with(key: "rule", .string(rule.text)) }
    /// Longest time of one try; for what waits, of the wait.
    public func timeout(_ time: Duration) -> Self { with(key: "timeout", time.json) }
    /// How long it waits after its needs are met.
    public func delay(_ time: Duration) -> Self { with(key: "delay", time.json) }
    /// How long it is expected to take, until that has been measured.
    public func expected(_ time: Duration) -> Self { with(key: "expected", time.json) }
    /// Where it waits for an agent.
    public func queue(_ name: String) -> Self { with(key: "queue", .string(name)) }
    /// Added to the run's; lower numbers go first.
    public func priority(_ priority: Int) -> Self { with(key: "priority", .integer(Int64(priority))) }

    /// How failed tries are followed by others.
    ///
    /// - Parameters:
    ///   - limit: Tries after the first one.
    ///   - backoff: The wait before the second try.
    ///   - factor: By which each wait is longer than the one before.
    ///   - max: The longest wait.
    ///   - jitter: The part of the wait that is left to chance, from 0 to 1.
    ///   - classes: Only failures of these classes are tried again.
    ///   - otherClasses: Failures of these never are.
    public func retry(
        limit: Int,
        backoff: Duration? = nil,
        factor: Double? = nil,
        max: Duration? = nil,
        jitter: Double? = nil,
        on classes: [String]? = nil,
        neverOn otherClasses: [String]? = nil
    ) -> Self {
        var members: [String: JSONValue] = ["limit": .integer(Int64(limit))]
        members["backoff"] = backoff?.json
        members["factor"] = factor.map(JSONValue.number)
        members["max"] = max?.json
        members["jitter"] = jitter.map(JSONValue.number)
        members["on"] = classes.map { .array($0.map(JSONValue.string)) }
        members["never_on"] = otherClasses.map { .array($0.map(JSONValue.string)) }
        return with(key: "retry", .object(members))
    }
}
