/// A step of a ``Workflow`` written in Swift.
///
/// Each method answers the step with one thing more to say; the last word counts.
public struct Step: HasPolicies {
    public let key: String
    var members: [String: JSONValue]

    /// - Parameter key: Its name, unique in the workflow.
    public init(_ key: String) {
        self.key = key
        members = ["key": .string(key)]
    }

    /// The same as JSON.
    public var json: JSONValue { .object(members) }

    public func with(key: String, _ value: JSONValue) -> Step {
        var changed = self
        changed.members[key] = value
        return changed
    }

    /// Adds to what the step needs; what it needs already is not said twice.
    func needing(_ keys: [String]) -> Step {
        guard !keys.isEmpty else { return self }
        var needs: [JSONValue] = []
        if case .array(let known) = members["needs"] { needs = known }
        for key in keys where !needs.contains(.string(key)) { needs.append(.string(key)) }
        return with(key: "needs", .array(needs))
    }
}

// MARK: - What it does

extension Step {
    /// For people.
    public func description(_ text: String) -> Step { with(key: "description", .string(text)) }

    /// The steps that it waits for, by key.
    public func needs(_ keys: String...) -> Step { needing(keys) }
    public func needs(_ keys: [String]) -> Step { needing(keys) }
    /// The steps that it waits for.
    public func needs(_ steps: Step...) -> Step { needing(steps.map(\.key)) }

    /// The handler's settings.
    public func settings(_ settings: [String: JSONValue]) -> Step { with(key: "with", .object(settings)) }

    /// What the handler gets: JSON whose texts that begin with `$` are JSONPath into `run` and `needs`.
    ///
    /// - Parameters:
    ///   - required: Names in the input whose paths must match something, else the step fails.
    public func input(_ value: JSONValue, required: [String] = []) -> Step {
        let step = with(key: "input", value)
        return required.isEmpty ? step : step.with(key: "required", .array(required.map(JSONValue.string)))
    }

    /// A statement that runs in the transaction that completes the step; `$1` is its input.
    public func sql(_ statement: String) -> Step {
        handler("sql").settings(["statement": .string(statement)])
    }

    /// - Parameter settings: More of what the handler `http` can be told.
    public func http(_ url: String, method: String = "GET", _ settings: [String: JSONValue] = [:]) -> Step {
        handler("http").settings(
            settings.merging(["method": .string(method), "url": .string(url)]) { _, given in given }
        )
    }

    public func shell(_ command: String) -> Step {
        handler("shell").settings(["command": .string(command)])
    }

    public func sleep(_ time: Duration) -> Step {
        handler("sleep").settings(["seconds": time.json])
    }

    /// Does nothing: a place where others meet.
    public func noop() -> Step { handler("noop") }

    /// A run of another workflow, as this step; its `input` is that run's.
    public func workflow(_ name: String, version: Int? = nil) -> Step {
        let step = with(key: "workflow", .string(name))
        return version.map { step.with(key: "version", .integer(Int64($0))) } ?? step
    }
}

// MARK: - Whether, when and how often

extension Step {
    /// Predicates over `run` and `needs`; where one is not true the step is skipped.
    ///
    /// ```swift
    /// .when("$.needs.charge.paid == true", .sql("select is_open()", cache: .seconds(10)))
    /// ```
    public func when(_ conditions: Condition...) -> Step {
        with(key: "when", conditions.count == 1 ? conditions[0].json : .array(conditions.map(\.json)))
    }

    /// One execution for each element; `$.element` and `$.index` stand in its input. Its output is the array of theirs.
    ///
    /// - Parameters:
    ///   - elements: A path or an array.
    ///   - parallel: Elements in execution at once.
    ///   - failures: What the first failure does to the others.
    ///   - chunk: Elements handed to one execution, as an array.
    public func forEach(
        _ elements: JSONValue,
        parallel: Int? = nil,
        failures: ElementFailures? = nil,
        chunk: Int? = nil
    ) -> Step {
        var members: [String: JSONValue] = ["in": elements]
        members["parallel"] = parallel.map { .integer(Int64($0)) }
        members["failures"] = failures.map { .string($0.rawValue) }
        members["chunk"] = chunk.map { .integer(Int64($0)) }
        return with(key: "for_each", members.count == 1 ? elements : .object(members))
    }

    /// What an element that fails does to the others.
    public enum ElementFailures: String, Sendable {
        case failFast = "fail_fast"
        case collect
    }

    /// What it waits for, without an agent. ``HasPolicies/timeout(_:)`` bounds the wait.
    public func wait(for what: Wait, onTimeout: TimedOutWait? = nil) -> Step {
        var members = what.members
        members["on_timeout"] = onTimeout.map { .string($0.rawValue) }
        return with(key: "wait_for", .object(members))
    }

    /// Longest time from when it is first ready, over all tries.
    public func deadline(_ time: Duration) -> Step { with(key: "deadline", time.json) }

    /// The time of day in which it may start: `08:00-20:00 Europe/Berlin`.
    public func window(_ window: String) -> Step { with(key: "window", .string(window)) }

    /// Ready steps of the same handler and key, across runs, are executed as one call.
    ///
    /// - Parameters:
    ///   - max: Steps in one call.
    ///   - delay: How long the first waits for others.
    ///   - key: What steps of one call have in common: JSON with paths into `run` and `needs`.
    ///   - urgent: A step of this priority, or a lower number, waits for no others.
    public func batch(max: Int, delay: Duration? = nil, key: JSONValue? = nil, urgent: Int? = nil) -> Step {
        var members: [String: JSONValue] = ["max": .integer(Int64(max))]
        members["urgent"] = urgent.map { .integer(Int64($0)) }
        members["delay"] = delay?.json
        members["key"] = key
        return with(key: "batch", .object(members))
    }
}

// MARK: - Its output and its failure

extension Step {
    /// Whether its output is stored.
    public func output(_ kept: KeptOutput) -> Step { with(key: "output", kept.json) }

    /// What its output must look like, in words of JSON Schema, else it fails.
    public func outputShape(_ shape: JSONValue) -> Step { with(key: "output_shape", shape) }

    /// A step whose key was computed before completes with that output.
    public func cache(key: JSONValue, ttl: Duration? = nil) -> Step {
        var members: [String: JSONValue] = ["key": key]
        members["ttl"] = ttl?.json
        return with(key: "cache", .object(members))
    }

    /// The step that starts only if this one has failed; the failure then counts as handled.
    public func onError(_ key: String) -> Step { with(key: "on_error", .string(key)) }

    /// What undoes the step, if it had completed, when the run has failed or was cancelled: a step of its own.
    ///
    /// - Parameter undo: Says its handler, settings, input, retry, timeout and queue.
    public func compensate(_ undo: (Step) -> Step) -> Step {
        with(key: "compensate", .object(undo(Step("")).members.filter { $0.key != "key" }))
    }
}
