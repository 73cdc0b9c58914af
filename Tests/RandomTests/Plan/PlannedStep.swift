import Millrace

/// A step of a random workflow: what the engine is given as JSON, and what the model knows of it.
struct PlannedStep: Sendable {
    enum Rule: Sendable, Equatable {
        case allCompleted, allDone, noneFailed, allFailed, anyCompleted
        /// `first.completed || !last.failed && first.done`, over two of its needs.
        case firstOrNotLast(String, String)
    }

    enum Work: Sendable {
        /// An agent's. `pack` takes steps together.
        case handler(String)
        case workflow(String)
        case wait(Wait)
    }

    struct Wait: Sendable {
        enum Kind: Sendable { case signal(String), person, duration(Double), until, run }
        enum Overdue: String, Sendable { case fail, skip, complete }
        var kind: Kind
        var overdue: Overdue
    }

    struct FanOut: Sendable {
        /// The run's items; or the outputs of a need, whatever these are.
        enum Source: Sendable { case items, need(String) }
        var source: Source
        var parallel: Int?
        var collects: Bool
        var chunk: Int?
    }

    struct Retry: Sendable {
        var limit = 0
        var backoff = 0.0
        var on: [String]?
        var neverOn: [String]?
    }

    enum Keeping: Sendable { case keep, none, timeToLive }

    /// Steps of this priority, or a lower number, do not wait for a batch.
    static let urgent = -3

    var key: String
    var needs: [String] = []
    var rule = Rule.allCompleted
    var conditions: [Condition] = []
    var work = Work.handler("act")
    var fanOut: FanOut?
    var retry = Retry()
    var delay: Double?
    var timeout: Double?
    var deadline: Double?
    var onError: String?
    var priority = 0
    var queue = "default"
    var batch: Int?
    var window: Window?
    var isCached = false
    var keeping = Keeping.keep
    var hasShape = false
    /// The need whose value it takes as `of`, and hands on.
    var taken: String?
    /// It requires of its input what nothing matches.
    var isImpossible = false
    /// It has a text made from the run's input, and hands it on.
    var hasText = false
    /// How many files it leaves behind.
    var artifacts = 0
    /// What it adds to its run.
    var growth: Growth?
    var compensation: Compensation?
    var salt = 0

    struct Growth: Sendable {
        var steps: [PlannedStep]
        /// The step of the run that comes to need the last of them.
        var waiting: String?
    }
}

extension PlannedStep {
    var json: JSONValue {
        var members: [String: JSONValue] = ["key": .string(key)]
        if !needs.isEmpty { members["needs"] = .array(needs.map { .string($0) }) }
        if let rule = rule.text { members["rule"] = .string(rule) }
        if !conditions.isEmpty { members["when"] = .array(conditions.map(\.json)) }
        if let fanOut { members["for_each"] = fanOut.json }
        if let delay { members["delay"] = .number(delay) }
        if let timeout { members["timeout"] = .number(timeout) }
        if let deadline { members["deadline"] = .number(deadline) }
        if let onError { members["on_error"] = .string(onError) }
        if priority != 0 { members["priority"] = .integer(Int64(priority)) }
        if retry.limit > 0 { members["retry"] = retry.json }
        switch work {
        case .handler(let name): addHandler(name, to: &members)
        case .workflow(let name):
            members["workflow"] = .string(name)
            members["input"] =
                fanOut == nil
                ? ["n": "$.run.n", "items": "$.run.items", "other": "$.run.other"]
                : ["n": "$.index", "items": "$.run.items", "other": "$.run.other"]
        case .wait(let wait): members["wait_for"] = wait.json
        }
        if let compensation { members["compensate"] = compensation.json(ofElements: fanOut != nil) }
        return .object(members)
    }

    private func addHandler(_ name: String, to members: inout [String: JSONValue]) {
        members["handler"] = .string(name)
        members["queue"] = .string(queue)
        var settings: [String: JSONValue] = ["salt": .integer(Int64(salt))]
        if timeout != nil { settings["slow"] = 60 }
        if hasShape { settings["misfit"] = 60 }
        if artifacts > 0 {
            settings["artifacts"] = .integer(Int64(artifacts))
            settings["deadly"] = 15
        }
        if hasText { settings["text"] = ["$template": "n={{run.n}}"] }
        if let growth { settings["growth"] = growth.json }
        members["with"] = .object(settings)
        var input: [String: JSONValue] = ["n": "$.run.n"]
        if fanOut != nil { (input["element"], input["index"]) = ("$.element", "$.index") }
        if let taken { input["of"] = .string("$.needs.\(taken).v") }
        if isImpossible {
            input["none"] = "$.run.no_such_thing"
            members["required"] = ["none"]
        }
        members["input"] = .object(input)
        if let batch {
            members["batch"] = ["max": .integer(Int64(batch)), "delay": 0.03, "key": "$.run.n", "urgent": .integer(Int64(Self.urgent))]
        }
        if let window { members["window"] = .string(window.text) }
        if isCached { members["cache"] = ["key": "$.run.n", "ttl": "1h"] }
        switch keeping {
        case .keep: break
        case .none: members["output"] = "none"
        case .timeToLive: members["output"] = ["ttl": "1h"]
        }
        if hasShape {
            members["output_shape"] = [
                "type": "object", "required": ["v"], "properties": ["v": ["type": "integer", "minimum": 0]],
            ]
        }
    }
}

extension PlannedStep.Growth {
    var json: JSONValue {
        var members: [String: JSONValue] = ["steps": .array(steps.map(\.json))]
        if let waiting, let last = steps.last { members["edges"] = .object([waiting: [.string(last.key)]]) }
        return .object(members)
    }
}

extension PlannedStep.Rule {
    var text: String? {
        switch self {
        case .allCompleted: nil
        case .allDone: "all_done"
        case .noneFailed: "none_failed"
        case .allFailed: "all_failed"
        case .anyCompleted: "any_completed"
        case .firstOrNotLast(let first, let last): "\(first).completed || !\(last).failed && \(first).done"
        }
    }
}

extension PlannedStep.Retry {
    var json: JSONValue {
        var members: [String: JSONValue] = [
            "limit": .integer(Int64(limit)), "backoff": .number(backoff), "factor": 1, "jitter": 0,
        ]
        if let on { members["on"] = .array(on.map { .string($0) }) }
        if let neverOn { members["never_on"] = .array(neverOn.map { .string($0) }) }
        return .object(members)
    }

    /// Whether another try may mend a failure of this class, as far as classes decide.
    func mends(_ errorClass: String) -> Bool {
        func matches(_ patterns: [String]) -> Bool {
            patterns.contains { pattern in
                let digits = pattern.replacing("x", with: "")
                return errorClass == pattern || errorClass.hasPrefix(pattern + ":")
                    || pattern.hasSuffix("xx") && errorClass.hasPrefix(digits)
                        && errorClass.count == pattern.count
            }
        }
        return !matches(neverOn ?? []) && (on.map(matches) ?? true)
    }
}

extension PlannedStep.FanOut {
    var json: JSONValue {
        var members: [String: JSONValue] = ["failures": collects ? "collect" : "fail_fast"]
        switch source {
        case .items: members["in"] = "$.run.items"
        case .need(let key): members["in"] = .string("$.needs.\(key)")
        }
        if let parallel { members["parallel"] = .integer(Int64(parallel)) }
        if let chunk { members["chunk"] = .integer(Int64(chunk)) }
        return .object(members)
    }
}

extension PlannedStep.Wait {
    var json: JSONValue {
        var members: [String: JSONValue] = [:]
        switch kind {
        case .signal(let name): members["signal"] = .string(name)
        case .person: members["person"] = ["candidates": ["ann", "ben"], "answer": ["type": "object"]]
        case .duration(let seconds): members["duration"] = .number(seconds)
        case .until: members["until"] = "2026-01-01T00:00:00Z"
        case .run: members["run"] = "$.run.other"
        }
        if overdue != .fail { members["on_timeout"] = .string(overdue.rawValue) }
        return .object(members)
    }
}
