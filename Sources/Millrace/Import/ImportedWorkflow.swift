/// A step as an importer makes it.
struct ImportedStep {
    var key: String
    var description: String?
    var needs: [String] = []
    var rule: String?
    /// Conditions, all of them required.
    var when: [String] = []
    /// What the step is spread over.
    var forEach: JSONValue?
    /// What the step waits for, in place of a handler.
    var waitFor: JSONValue?
    /// The workflow whose run it is, in place of a handler.
    var workflow: String?
    var handler = "noop"
    var queue: String?
    var settings: [String: JSONValue]?
    var input: JSONValue?
    var retry: JSONValue?
    var timeout: String?
    /// The step that starts when this one has failed.
    var onError: String?
    var cache: JSONValue?
    var expected: Double?

    init(key: String) {
        self.key = key
    }

    /// Whether the failures of its elements do not count.
    fileprivate var collects: Bool {
        if case .object(let settings)? = forEach { settings["failures"] == .string("collect") } else { false }
    }

    /// Keys of the definition language in the order in which a person would write them.
    fileprivate var members: [(String, JSONValue)] {
        var members: [(String, JSONValue)] = [("key", .string(key))]
        func add(_ name: String, _ value: JSONValue?) {
            if let value { members.append((name, value)) }
        }
        add("description", description.map { .string($0) })
        add("workflow", workflow.map { .string($0) })
        add("handler", waitFor == nil && workflow == nil ? .string(handler) : nil)
        add("queue", queue.map { .string($0) })
        if !needs.isEmpty { add("needs", .array(needs.map { .string($0) })) }
        add("rule", rule.map { .string($0) })
        if let first = when.first { add("when", when.count == 1 ? .string(first) : .array(when.map { .string($0) })) }
        add("for_each", forEach)
        add("wait_for", waitFor)
        add("with", workflow == nil ? settings.map { .object($0) } : nil)
        add("input", input)
        add("retry", retry)
        add("timeout", timeout.map { .string($0) })
        add("on_error", onError.map { .string($0) })
        add("cache", cache)
        add("expected", expected.map { .number($0) })
        return members
    }

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            for (name, value) in members {
                writer.key(name)
                value.write(to: &writer)
            }
        }
    }
}

extension ImportedStep {
    /// What the step does where nothing of the file is executed, or another handler does it.
    mutating func work(_ options: ImportOptions, seconds: Double? = nil) {
        let scaled = options.timeScale > 0 ? seconds.map { $0 * options.timeScale } : nil
        expected = scaled
        switch options.handler {
        case .named(let name):
            handler = name
        case .simulated, .shell:
            handler = scaled == nil ? "noop" : "sleep"
            settings = scaled.map { ["seconds": .number($0)] }
        }
    }

    mutating func shell(_ command: JSONValue, environment: [String: JSONValue] = [:], directory: String? = nil) {
        handler = "shell"
        settings = ["command": command]
        if !environment.isEmpty { settings?["environment"] = .object(environment) }
        settings?["directory"] = directory.map { .string($0) }
    }

    /// Adds what is not needed yet.
    mutating func need(_ keys: some Sequence<String>) {
        var seen = Set(needs)
        for key in keys where seen.insert(key).inserted { needs.append(key) }
    }
}

/// A workflow as an importer makes it.
struct ImportedWorkflow {
    var name: String
    var description: String?
    var steps: [ImportedStep]
    var finally: [ImportedStep] = []
    var deadline: String?
    /// What a run comes to, where that is not what its last steps answer.
    var output: JSONValue?
    /// Default values of the run's input, where the file gives some.
    var input: JSONValue?
    /// Workflows whose runs are steps of this one, or of one another.
    var children: [ImportedWorkflow] = []

    init(name: String, steps: [ImportedStep] = []) {
        self.name = name
        self.steps = steps
    }

    var definition: WorkflowDefinition {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("workflow")
            writer.string(name)
            if let description {
                writer.key("description")
                writer.string(description)
            }
            if let deadline {
                writer.key("deadline")
                writer.string(deadline)
            }
            writer.key("steps")
            writer.array { writer in for step in steps { step.write(to: &writer) } }
            if !finally.isEmpty {
                writer.key("finally")
                writer.array { writer in for step in finally { step.write(to: &writer) } }
            }
            if let output {
                writer.key("output")
                output.write(to: &writer)
            }
        }
        // Read again, as from a file, for the outline that pictures need; what is written here can be read.
        return (try? WorkflowDefinition(json: writer.text))
            ?? WorkflowDefinition(name: name, steps: [], json: writer.text)
    }
}

extension ImportedWorkflow {
    /// Has the failures of steps that may fail handled by a step which does nothing, so that the run does not fail by them.
    mutating func tolerate(_ keys: Set<String>) {
        Self.tolerate(keys, in: &steps, among: Set((steps + finally).map(\.key)))
        Self.tolerate(keys, in: &finally, among: Set((steps + finally).map(\.key)))
    }

    private static func tolerate(_ keys: Set<String>, in steps: inout [ImportedStep], among taken: Set<String>) {
        // A step whose elements' failures do not count does not fail by them.
        let found = steps.indices.filter { keys.contains(steps[$0].key) && !steps[$0].collects }
        guard !found.isEmpty else { return }
        var handler = ImportedStep(key: StepKey.unique("go-on", among: taken))
        handler.description = "Has nothing to do: the failure of a step that may fail is dealt with."
        for index in found { steps[index].onError = handler.key }
        steps.append(handler)
    }
}

/// Values within an input.
enum ImportedValue {
    /// In an input a text that begins with a dollar sign is a path, unless it has two.
    static func literal(_ value: JSONValue) -> JSONValue {
        switch value {
        case .string(let text): .string(text.hasPrefix("$") ? "$" + text : text)
        case .array(let elements): .array(elements.map(literal))
        case .object(let members): .object(members.mapValues(literal))
        default: value
        }
    }

    /// Text around paths.
    ///
    /// - Parameter texts: The pieces before, between and behind the paths.
    static func template(_ texts: [String], _ paths: [String]) -> JSONValue {
        var text = texts[0]
        var data: [String: JSONValue] = [:]
        for (number, path) in paths.enumerated() {
            text += "{{value\(number)}}" + texts[number + 1]
            data["value\(number)"] = .string(path)
        }
        return .object(["$template": .string(text), "data": .object(data)])
    }
}
