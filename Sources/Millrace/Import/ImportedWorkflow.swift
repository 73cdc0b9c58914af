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
    var handler = "noop"
    var queue: String?
    var settings: [String: JSONValue]?
    var input: JSONValue?
    var retry: JSONValue?
    var timeout: String?
    var cache: JSONValue?
    var expected: Double?

    init(key: String) {
        self.key = key
    }

    /// Keys of the definition language in the order in which a person would write them.
    fileprivate var members: [(String, JSONValue)] {
        var members: [(String, JSONValue)] = [("key", .string(key))]
        func add(_ name: String, _ value: JSONValue?) {
            if let value { members.append((name, value)) }
        }
        add("description", description.map { .string($0) })
        add("handler", waitFor == nil ? .string(handler) : nil)
        add("queue", queue.map { .string($0) })
        if !needs.isEmpty { add("needs", .array(needs.map { .string($0) })) }
        add("rule", rule.map { .string($0) })
        if let first = when.first { add("when", when.count == 1 ? .string(first) : .array(when.map { .string($0) })) }
        add("for_each", forEach)
        add("wait_for", waitFor)
        add("with", settings.map { .object($0) })
        add("input", input)
        add("retry", retry)
        add("timeout", timeout.map { .string($0) })
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
    /// Default values of the run's input, where the file gives some.
    var input: JSONValue?

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
        }
        // Read again, as from a file, for the outline that pictures need; what is written here can be read.
        return (try? WorkflowDefinition(json: writer.text))
            ?? WorkflowDefinition(name: name, steps: [], json: writer.text)
    }
}
