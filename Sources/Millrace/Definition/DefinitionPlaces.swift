import Yams

/// Where the parts of a definition stand in the file it was read from.
///
/// The server names a mistake by its path in the definition (`steps[2].retry.limit`); whoever mends it works in a file.
public struct DefinitionPlaces {
    public struct Place: Sendable, Hashable, Encodable {
        /// From 1 on.
        public var line: Int
        /// From 1 on, in characters.
        public var column: Int
    }

    private let root: Node?

    /// Reads a definition file: JSON or YAML, packed with gzip or not.
    public init(file: String) throws(MillraceError) {
        // JSON is YAML but for a few odd ones, which then have no places.
        root = (try? compose(yaml: String(decoding: try DefinitionFile.contents(of: file), as: UTF8.self))) ?? nil
    }

    init(yaml: String) {
        root = (try? compose(yaml: yaml)) ?? nil
    }

    /// The place of the part that the path names, or of what should hold it where it is missing.
    public func place(of path: String) -> Place? {
        guard var node = root else { return nil }
        var mark = node.mark
        var rest = path[...]
        while let found = Self.member(of: node, at: &rest) {
            mark = found.mark ?? mark
            node = found.node
        }
        return mark.map { Place(line: $0.line, column: $0.column) }
    }

    /// The first part of the path, if the node has it; the path goes on behind it.
    private static func member(of node: Node, at path: inout Substring) -> (node: Node, mark: Mark?)? {
        switch node {
        case .sequence(let sequence):
            guard let index = path.prefixMatch(of: /\[([0-9]+)\]/), let number = Int(index.1), number < sequence.count
            else { return nil }
            path.removeFirst(index.0.count)
            return (sequence[number], sequence[number].mark)
        case .mapping(let mapping):
            let name = path.first == "." ? path.dropFirst() : path
            // A key may hold what separates parts: the longest one that fits is meant.
            let fitting = mapping.compactMap { key, value -> (name: String, node: Node, mark: Mark?)? in
                guard let text = key.scalar?.string, name.hasPrefix(text) else { return nil }
                let next = name.dropFirst(text.count).first
                return next == nil || next == "." || next == "[" ? (text, value, key.mark) : nil
            }
            guard let longest = fitting.max(by: { $0.name.count < $1.name.count }) else { return nil }
            path = name.dropFirst(longest.name.count)
            return (longest.node, longest.mark)
        case .scalar, .alias:
            return nil
        }
    }
}
