import Foundation

/// A workflow as its author wrote it.
///
/// The JSON text goes to the server as it stands, because the server alone judges it; what stands here beside it is
/// the outline that pictures and estimates need, read without complaint about anything else.
public struct WorkflowDefinition: Sendable {
    /// One step of the outline.
    public struct Step: Sendable, Hashable {
        public var key: String
        public var handler: String
        public var queue: String
        public var needs: [String]
        /// How long it is expected to take, in seconds, where the definition says so.
        public var expected: Double?
        /// What else it says, in a fixed order.
        public var traits: [StepTrait]

        public init(
            key: String,
            handler: String = "",
            queue: String = "default",
            needs: [String] = [],
            expected: Double? = nil,
            traits: [StepTrait] = []
        ) {
            self.key = key
            self.handler = handler
            self.queue = queue
            self.needs = needs
            self.expected = expected
            self.traits = traits
        }

        /// Whether it stands under `finally`.
        public var isFinal: Bool { traits.contains { $0.name == .finally } }
        /// The step that starts if this one fails.
        public var errorHandler: String? { traits.first { $0.name == .onError }?.text }
    }

    /// The workflow's name; empty where the definition has none.
    public let name: String
    public let steps: [Step]
    /// The definition as JSON text.
    public let json: String

    /// Reads a definition from JSON text.
    ///
    /// - Throws: ``MillraceError`` where the text is no JSON, with line and column.
    public init(json: String) throws(MillraceError) {
        try self.init(utf8: Data(json.utf8))
    }

    init(utf8: Data) throws(MillraceError) {
        let outline: Outline
        do {
            outline = try JSONDecoder().decode(Outline.self, from: utf8)
        } catch {
            throw MillraceError(.malformed, "The definition is no JSON.", detail: JSONProblem.describe(error, in: utf8))
        }
        guard !outline.isWfFormat else {
            throw MillraceError(
                .malformed,
                "This is a recorded workflow in WfFormat, not a definition.",
                hint: "Say --format wfformat, or bring it in with millrace import."
            )
        }
        self.init(name: outline.workflow ?? "", steps: outline.steps, json: String(decoding: utf8, as: UTF8.self))
    }

    /// A definition that stands in memory as JSON.
    public init(_ json: JSONValue) {
        let text = json.json
        let outline = try? JSONDecoder().decode(Outline.self, from: Data(text.utf8))
        self.init(name: outline?.workflow ?? "", steps: outline?.steps ?? [], json: text)
    }

    init(name: String, steps: [Step], json: String) {
        self.name = name
        self.steps = steps
        self.json = json
    }

    /// Writes a definition.
    ///
    /// - Parameter settings: What a step's handler is told, its `with`.
    public init(name: String, steps: [Step], settings: (Step) -> [String: JSONValue]? = { _ in nil }) {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("workflow")
            writer.string(name)
            writer.key("steps")
            writer.array { writer in
                for step in steps { step.write(to: &writer, settings(step)) }
            }
        }
        self.init(name: name, steps: steps, json: writer.text)
    }
}

extension WorkflowDefinition.Step {
    fileprivate func write(to writer: inout JSONWriter, _ settings: [String: JSONValue]?) {
        writer.object { writer in
            writer.key("key")
            writer.string(key)
            writer.key("handler")
            writer.string(handler)
            if queue != "default" {
                writer.key("queue")
                writer.string(queue)
            }
            if !needs.isEmpty {
                writer.key("needs")
                writer.array { writer in needs.forEach { writer.string($0) } }
            }
            if let settings {
                writer.key("with")
                JSONValue.object(settings).write(to: &writer)
            }
            if let expected {
                writer.key("expected")
                writer.number(expected)
            }
        }
    }
}

/// What a picture needs of a definition. Anything of a wrong type is left out here: the server names it.
private struct Outline: Decodable {
    var workflow: String?
    var steps: [WorkflowDefinition.Step]
    var isWfFormat: Bool

    enum Key: CodingKey { case workflow, steps, finally, defaults, schemaVersion }

    init(from decoder: any Decoder) throws {
        guard let container = try? decoder.container(keyedBy: Key.self) else {
            (workflow, steps, isWfFormat) = (nil, [], false)
            return
        }
        workflow = try? container.decodeIfPresent(String.self, forKey: .workflow)
        isWfFormat = workflow == nil && container.contains(.workflow) && container.contains(.schemaVersion)
        let defaults = (try? container.decodeIfPresent(OutlinedStep.self, forKey: .defaults)) ?? nil
        let outlined = (try? container.decodeIfPresent([OutlinedStep].self, forKey: .steps)) ?? []
        let last = (try? container.decodeIfPresent([OutlinedStep].self, forKey: .finally)) ?? []
        steps = (outlined + last).enumerated().map { number, step in
            WorkflowDefinition.Step(
                key: step.key ?? "",
                handler: step.handler ?? defaults?.handler ?? "",
                queue: step.queue ?? defaults?.queue ?? "default",
                needs: step.needs,
                expected: step.expected ?? defaults?.expected,
                traits: step.traits(defaults) + (number < outlined.count ? [] : [StepTrait(.finally)])
            )
        }
    }
}

private struct OutlinedStep: Decodable {
    var key: String?
    var handler: String?
    var queue: String?
    var needs: [String]
    var expected: Double?
    private var said: [StepTrait.Name: StepTrait] = [:]

    enum Key: CodingKey { case key, handler, queue, needs, expected }

    private struct TraitKey: CodingKey {
        var name: StepTrait.Name
        var stringValue: String { name.rawValue }
        var intValue: Int? { nil }
        init(_ name: StepTrait.Name) { self.name = name }
        init?(stringValue: String) {
            guard let name = StepTrait.Name(rawValue: stringValue) else { return nil }
            self.name = name
        }
        init?(intValue: Int) { nil }
    }

    /// Of what steps say, only the rule may come from the defaults.
    func traits(_ defaults: OutlinedStep?) -> [StepTrait] {
        StepTrait.Name.allCases.compactMap { said[$0] ?? ($0 == .rule ? defaults?.said[$0] : nil) }
    }

    init(from decoder: any Decoder) throws {
        guard let container = try? decoder.container(keyedBy: Key.self) else {
            needs = []
            return
        }
        key = try? container.decodeIfPresent(String.self, forKey: .key)
        handler = try? container.decodeIfPresent(String.self, forKey: .handler)
        queue = try? container.decodeIfPresent(String.self, forKey: .queue)
        needs = (try? container.decodeIfPresent([String].self, forKey: .needs)) ?? []
        if let container = try? decoder.container(keyedBy: TraitKey.self) {
            for key in container.allKeys where key.name != .finally {
                said[key.name] = (try? container.decode(JSONValue.self, forKey: key)).flatMap {
                    StepTrait(key.name, of: $0)
                }
            }
        }
        guard container.contains(.expected) else { return }
        expected =
            (try? container.decode(Double.self, forKey: .expected))
            ?? (try? container.decode(String.self, forKey: .expected)).flatMap(seconds)
    }

    /// `100ms`, `1.5s`, `5m`, `2h`, `1d`; PostgreSQL's own spellings are left to the server.
    private func seconds(_ text: String) -> Double? {
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60), ("h", 3600), ("d", 86400)]
        for (unit, factor) in units where text.hasSuffix(unit) {
            if let count = Double(text.dropLast(unit.count).trimmingCharacters(in: .whitespaces)) {
                return count * factor
            }
        }
        return Double(text)
    }
}
