import Yams

/// YAML as a way to write JSON: the document becomes JSON text, by the rules of YAML 1.2's core schema.
///
/// The library's own conversion follows YAML 1.1, where `on`, `no` and `12:30` are a truth value and a number of seconds;
/// no one who writes a definition means that.
enum YAML {
    /// A document of a few hundred bytes can expand to gigabytes through aliases.
    static let limit = 256 << 20

    static func json(_ text: String) throws(MillraceError) -> [UInt8] {
        try reading {
            guard let root = try compose(yaml: text) else {
                throw MillraceError(.malformed, "The document is empty.")
            }
            var writer = JSONWriter()
            try write(root, to: &writer)
            return writer.bytes
        }
    }

    /// The documents of a file, with the places of all that is in them.
    static func documents(_ text: String) throws(MillraceError) -> [Node] {
        try reading {
            let parser = try Parser(yaml: text)
            var documents: [Node] = []
            while let document = try parser.nextRoot() { documents.append(document) }
            return documents
        }
    }

    /// Tells the library's errors in our words.
    private static func reading<Result>(_ body: () throws -> Result) throws(MillraceError) -> Result {
        do {
            return try body()
        } catch let error as MillraceError {
            throw error
        } catch let error as YamlError {
            throw MillraceError(.malformed, "This is no YAML: \(problem(error))")
        } catch {
            throw MillraceError(.malformed, "This is no YAML: \(error)")
        }
    }

    static func write(_ node: Node, to writer: inout JSONWriter, depth: Int = 0) throws {
        guard depth < 200, writer.bytes.count < limit else {
            throw MillraceError(.malformed, "The document is nested too deeply or expands to too much.")
        }
        switch node {
        case .scalar(let scalar):
            write(scalar, to: &writer)
        case .sequence(let sequence):
            try writer.array { writer in
                for element in sequence { try write(element, to: &writer, depth: depth + 1) }
            }
        case .mapping(let mapping):
            try writer.object { writer in
                for (key, value) in mapping {
                    guard let name = key.scalar?.string else {
                        throw MillraceError(.malformed, "A key must be text\(place(key.mark)).")
                    }
                    writer.key(name)
                    try write(value, to: &writer, depth: depth + 1)
                }
            }
        case .alias(let alias):
            throw MillraceError(.malformed, "The alias *\(alias.anchor.rawValue) has no anchor\(place(alias.mark)).")
        }
    }

    private static func write(_ scalar: Node.Scalar, to writer: inout JSONWriter) {
        let text = scalar.string
        guard scalar.style == .plain, scalar.tag.description != Tag.Name.str.rawValue else {
            return writer.string(text)
        }
        switch text {
        case "", "~", "null", "Null", "NULL": writer.raw("null")
        case "true", "True", "TRUE": writer.raw("true")
        case "false", "False", "FALSE": writer.raw("false")
        default:
            if isJSONNumber(text) {
                writer.raw(text)
            } else {
                writer.string(text)
            }
        }
    }

    /// Whether JSON would read the text as a number. `0x1f`, `1_000`, `.inf` and `007` stay text.
    private static func isJSONNumber(_ text: String) -> Bool {
        guard let first = text.utf8.first,
            first == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")) ~= first
        else { return false }
        return text.wholeMatch(of: /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/) != nil
    }

    private static func problem(_ error: YamlError) -> String {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let around = context.map { " (\($0.text))" } ?? ""
            return "\(problem)\(around)\(place(mark))."
        case .duplicatedKeysInMapping(let duplicates, let context):
            let keys = duplicates.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
            return "the key \(keys) stands twice in one object\(place(context.mark))."
        default:
            return "\(error)"
        }
    }

    private static func place(_ mark: Mark?) -> String {
        mark.map { " at line \($0.line), column \($0.column)" } ?? ""
    }
}
