/// Something that a step says beyond its handler and its needs: what a picture marks it with.
public struct StepTrait: Sendable, Hashable, Encodable {
    /// The key of the language.
    public enum Name: String, Sendable, Hashable, Encodable, CaseIterable {
        case rule, when
        case forEach = "for_each"
        case workflow
        case waitFor = "wait_for"
        case cache, batch, window
        case onError = "on_error"
        case compensate
        /// It stands under `finally`.
        case finally
    }

    public var name: Name
    /// What is said, shortened to what fits into a picture.
    public var text: String

    public init(_ name: Name, _ text: String = "") {
        self.name = name
        self.text = text
    }

    /// As one reads it: `when $.run.total > 100`, `for each $.needs.list, 10 at once`.
    public var phrase: String {
        switch name {
        case .forEach: "for each \(text)"
        case .workflow: "runs \(text)"
        case .waitFor: "waits for \(text)"
        case .cache: "cached by \(text)"
        case .batch: "in batches\(text)"
        case .onError: "on error \(text)"
        case .compensate: "undone by \(text)"
        case .finally: "finally"
        case .rule, .when, .window: "\(name.rawValue) \(text)"
        }
    }
}

extension StepTrait {
    /// What the value of a key means; nil where there is nothing to mark, or nothing that makes sense: the server
    /// judges.
    init?(_ name: Name, of value: JSONValue) {
        let text =
            switch name {
            case .rule: value.text == "all_completed" ? nil : value.text
            case .when: Self.conditions(value)
            case .forEach: Self.elements(value)
            case .waitFor: Self.wait(value)
            case .cache: value["key"].map(Self.brief)
            case .batch: Self.batch(value)
            case .compensate: value["handler"]?.text
            case .workflow, .window, .onError: value.text
            case .finally: ""
            }
        guard let text else { return nil }
        self.init(name, text)
    }

    private static func conditions(_ value: JSONValue) -> String? {
        let conditions = if case .array(let several) = value { several } else { [value] }
        let texts = conditions.compactMap { $0.text ?? $0["sql"]?.text.map { "sql: \($0)" } }
        return texts.isEmpty ? nil : texts.joined(separator: " and ")
    }

    private static func elements(_ value: JSONValue) -> String? {
        switch value {
        case .string(let path): return path
        case .array(let elements): return "of \(elements.count)"
        default:
            guard let source = value["in"].flatMap(elements) else { return nil }
            let limits = [
                value["parallel"].map { "\(brief($0)) at once" }, value["chunk"].map { "in chunks of \(brief($0))" },
                value["failures"]?.text == "collect" ? "collecting failures" : nil,
            ]
            return ([source] + limits.compactMap(\.self)).joined(separator: ", ")
        }
    }

    private static func wait(_ value: JSONValue) -> String? {
        if let signal = value["signal"] { return "signal \(brief(signal))" }
        if let person = value["person"] { return person["assignee"].map(brief) ?? "a person" }
        if let time = value["until"] ?? value["duration"] { return brief(time) }
        return value["run"].map { "run \(brief($0))" }
    }

    private static func batch(_ value: JSONValue) -> String {
        [value["max"].map { " of \(brief($0))" }, value["key"].map { " by \(brief($0))" }].compactMap(\.self).joined()
    }

    private static func brief(_ value: JSONValue) -> String { value.text ?? value.json }
}

extension JSONValue {
    /// The text, where it is one.
    public var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The member of an object; nil where there is none.
    public subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }
}
