import Yams

/// A part of a YAML file, with its name and place.
struct ImportNode {
    let node: Node
    /// `jobs.build.needs[0]`.
    let path: String
    /// Where it stands: for a member of a mapping, its key.
    let place: DefinitionPlaces.Place?

    init(_ node: Node, path: String = "", mark: Mark? = nil) {
        self.node = node
        self.path = path
        place = (mark ?? node.mark).map { .init(line: $0.line, column: $0.column) }
    }

    /// Whether nothing stands there.
    var isNull: Bool { value == .null }

    /// The text of a scalar, whatever it would be as JSON.
    var text: String? {
        if case .scalar(let scalar) = node, !isNull { scalar.string } else { nil }
    }

    var bool: Bool? { if case .bool(let bool) = value { bool } else { nil } }

    var number: Double? {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }

    /// The part as JSON.
    var value: JSONValue {
        var writer = JSONWriter()
        guard (try? YAML.write(node, to: &writer)) != nil else { return .null }
        return (try? JSONValue(json: writer.text)) ?? .null
    }

    /// The members of a mapping, in the file's order.
    var members: [(name: String, node: ImportNode)] {
        guard case .mapping(let mapping) = node else { return [] }
        return mapping.map { key, value in
            let name = key.scalar?.string ?? ""
            return (name, ImportNode(value, path: path.isEmpty ? name : "\(path).\(name)", mark: key.mark))
        }
    }

    var isMapping: Bool { node.mapping != nil }

    var elements: [ImportNode]? {
        guard case .sequence(let sequence) = node else { return nil }
        return sequence.enumerated().map { ImportNode($1, path: "\(path)[\($0)]") }
    }

    subscript(name: String) -> ImportNode? {
        guard case .mapping(let mapping) = node else { return nil }
        for (key, value) in mapping where key.scalar?.string == name {
            let member = ImportNode(value, path: path.isEmpty ? name : "\(path).\(name)", mark: key.mark)
            return member.isNull ? nil : member
        }
        return nil
    }
}

extension ImportFindings {
    func refuse(_ name: String, _ node: ImportNode, _ message: String) {
        refuse(name, node.path, message, at: node.place)
    }

    func mistake(_ node: ImportNode, _ message: String) {
        mistake(node.path, message, at: node.place)
    }

    func leaveBehind(_ node: ImportNode, _ message: String) {
        leaveBehind(node.path, message, at: node.place)
    }
}
