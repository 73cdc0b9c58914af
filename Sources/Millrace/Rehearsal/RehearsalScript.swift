import Foundation

/// What a rehearsal is told: what handlers would answer, and what is expected to come of it.
///
/// Read from a file in JSON or YAML:
///
/// ```yaml
/// input: { order_id: 7 }
/// steps:
///   validate: { output: { total: 42 } }
///   charge:                                  # one for each try; the last one stays
///     - { error: "no answer", delay: 2s }
///     - { output: { paid: true } }
/// expect:
///   run: completed
///   steps: { refund: skipped, charge: { state: completed, attempts: 2 } }
///   path: [validate, charge, charge, [pack, label], ship]
/// ```
public struct RehearsalScript: Sendable {
    /// How one try of a step ends.
    public struct Ending: Sendable, Hashable {
        public var outcome = Outcome.completed
        public var output: JSONValue?
        public var error: String?
        /// The class of the error, by which a definition may choose whether to try again.
        public var errorClass: String?
        /// How long the handler takes, in seconds.
        public var delay: Double = 0

        public init() {}
    }

    /// Something that is told the run.
    public struct Signal: Sendable, Hashable {
        public var name: String
        public var payload: JSONValue?
        /// Seconds after the submit.
        public var at: Double

        public init(_ name: String, payload: JSONValue? = nil, at: Double = 0) {
            (self.name, self.payload, self.at) = (name, payload, at)
        }
    }

    /// The run's input.
    public var input: JSONValue?
    /// What the clock says at first.
    public var start = Date(timeIntervalSince1970: 1_893_456_000)
    /// SQL that prepares the throw-away database, for steps of handler `sql`.
    public var setup: String?
    /// Definitions that have to be there too: sub-runs.
    public var workflows: [WorkflowDefinition] = []
    /// By key; of an element `key[3]`, of a step of another workflow `workflow/key`.
    public var steps: [String: [Ending]] = [:]
    /// How steps end of which nothing is said; those of handler `sql` are executed, `sleep` takes its time.
    public var others: Ending?
    /// What the run is told from outside, and when.
    public var signals: [Signal] = []
    public var expectation = RehearsalExpectation()

    public init() {}

    /// Reads a script file. Files that it names lie beside it.
    ///
    /// - Throws: ``MillraceError`` that names the file and what is wrong with it.
    public init(file: String) throws(MillraceError) {
        let directory = URL(filePath: file).deletingLastPathComponent()
        do throws(MillraceError) {
            let text = String(decoding: try DefinitionFile.contents(of: file), as: UTF8.self)
            // JSON is YAML.
            let json = String(decoding: try YAML.json(text), as: UTF8.self)
            try self.init(try ScriptPart(try JSONValue(json: json), at: ""), directory)
        } catch {
            var located = error
            if !error.message.hasPrefix(file) { located.message = "\(file): \(error.message)" }
            throw located
        }
    }

    private init(_ script: ScriptPart, _ directory: URL) throws(MillraceError) {
        let parts = try script.members(["input", "start", "setup", "workflows", "steps", "others", "signals", "expect"])
        input = parts["input"]?.value
        if let time = parts["start"] { start = try time.date }
        if let name = parts["setup"] {
            let path = directory.appending(path: try name.text).path(percentEncoded: false)
            setup = String(decoding: try DefinitionFile.contents(of: path), as: UTF8.self)
        }
        for name in try parts["workflows"]?.elements ?? [] {
            let path = directory.appending(path: try name.text).path(percentEncoded: false)
            workflows.append(try WorkflowDefinition.load(path))
        }
        for (key, part) in try parts["steps"]?.all ?? [:] {
            var endings: [Ending] = []
            for ending in part.isArray ? try part.elements : [part] { endings.append(try Ending(ending)) }
            guard !endings.isEmpty else { throw part.wrong("says nothing") }
            steps[key] = endings
        }
        others = try parts["others"].map { (part) throws(MillraceError) in try Ending(part) }
        for part in try parts["signals"]?.elements ?? [] { signals.append(try Signal(part)) }
        if let part = parts["expect"] { expectation = try RehearsalExpectation(part) }
    }

    /// What is said of a try of a step; nil where nothing is.
    func ending(of work: Work, in main: String) -> Ending? {
        ending(of: work.key, work.workflow, element: work.element, attempt: Int(work.attempt), in: main)
    }

    /// The same for a step that no agent gets.
    func ending(of key: String, _ workflow: String, element: Int32?, attempt: Int, in main: String) -> Ending? {
        var names = [key]
        if let element { names.insert("\(key)[\(element)]", at: 0) }
        names = names.map { "\(workflow)/\($0)" } + (workflow == main ? names : [])
        guard let endings = names.lazy.compactMap({ steps[$0] }).first else { return nil }
        return endings[min(attempt - 1, endings.count - 1)]
    }
}

extension RehearsalScript.Ending {
    init(_ part: ScriptPart) throws(MillraceError) {
        let members = try part.members(["outcome", "output", "error", "class", "delay"])
        output = members["output"]?.value
        error = try members["error"].map { (part) throws(MillraceError) in try part.text }
        errorClass = try members["class"].map { (part) throws(MillraceError) in try part.text }
        if error != nil || errorClass != nil { outcome = .failed }
        if let named = members["outcome"] {
            guard let known = Outcome(rawValue: try named.text) else {
                throw named.wrong("is none of completed, failed, fatal, timed_out, released")
            }
            outcome = known
        }
        if let time = members["delay"] { delay = try time.seconds }
    }
}

extension RehearsalScript.Signal {
    fileprivate init(_ part: ScriptPart) throws(MillraceError) {
        let members = try part.members(["name", "payload", "at"])
        guard let name = members["name"] else { throw part.wrong("has no name") }
        self.init(try name.text, payload: members["payload"]?.value)
        if let time = members["at"] { at = try time.seconds }
    }
}
