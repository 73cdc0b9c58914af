/// One of the conditions under which a step is not skipped.
public struct Condition: Sendable, Hashable, ExpressibleByStringLiteral {
    let json: JSONValue

    /// A JSONPath predicate over `run` and `needs`.
    public init(_ predicate: String) { json = .string(predicate) }
    public init(stringLiteral predicate: String) { json = .string(predicate) }

    private init(json: JSONValue) { self.json = json }

    /// A select of one boolean, read-only, with the definer's rights; `$1` is `{run, needs}`.
    ///
    /// - Parameter cache: How long an answer holds.
    public static func sql(_ statement: String, timeout: Duration? = nil, cache: Duration? = nil) -> Condition {
        var members: [String: JSONValue] = ["sql": .string(statement)]
        members["timeout"] = timeout?.json
        members["cache"] = cache?.json
        return Condition(json: .object(members))
    }
}

/// What a step waits for.
public struct Wait: Sendable, Hashable {
    let members: [String: JSONValue]

    /// A signal to the run; its payload is the output.
    public static func signal(_ name: String) -> Wait { Wait(members: ["signal": .string(name)]) }

    /// Somebody's answer.
    ///
    /// - Parameters:
    ///   - assignee: Who is to answer.
    ///   - candidates: Who may take it.
    ///   - title: What it is about.
    ///   - answer: What the answer must look like, in words of JSON Schema.
    public static func person(
        assignee: String? = nil,
        candidates: [String] = [],
        title: String? = nil,
        answer: JSONValue? = nil
    ) -> Wait {
        var person: [String: JSONValue] = [:]
        person["title"] = title.map(JSONValue.string)
        person["assignee"] = assignee.map(JSONValue.string)
        if !candidates.isEmpty { person["candidates"] = .array(candidates.map(JSONValue.string)) }
        person["title"] = title.map(JSONValue.string)
        person["answer"] = answer
        return Wait(members: ["person": .object(person)])
    }

    /// A time, or a path to one.
    public static func until(_ time: String) -> Wait { Wait(members: ["until": .string(time)]) }
    public static func duration(_ time: Duration) -> Wait { Wait(members: ["duration": time.json]) }
    /// An interval that a path finds.
    public static func duration(path: String) -> Wait { Wait(members: ["duration": .string(path)]) }
    /// The end of another run, whose id a path finds.
    public static func run(path: String) -> Wait { Wait(members: ["run": .string(path)]) }
}

/// What a step does whose wait has taken as long as it may.
public enum TimedOutWait: String, Sendable {
    case fail
    case skip
    case complete
}

/// Whether a step's output is stored.
public struct KeptOutput: Sendable, Hashable {
    let json: JSONValue

    /// Never: those that need the step see null.
    public static let none = KeptOutput(json: .string("none"))
    /// As long as the run.
    public static let keep = KeptOutput(json: .string("keep"))
    /// For some time.
    public static func keep(for time: Duration) -> KeptOutput { KeptOutput(json: .object(["ttl": time.json])) }
}
