/// A graph in Graphviz' language.
struct DOTGraph {
    struct Node {
        var id: String
        var attributes: [String: String]
        var place: DefinitionPlaces.Place
    }

    struct Edge {
        var from: Int
        var to: Int
        var attributes: [String: String]
        var place: DefinitionPlaces.Place
    }

    private(set) var name = ""
    private(set) var isDirected = true
    private(set) var nodes: [Node] = []
    private(set) var edges: [Edge] = []
    private var numbers: [String: Int] = [:]

    /// - Throws: ``MillraceError`` with the line of the first mistake.
    init(_ text: String) throws(MillraceError) {
        var parser = DOTParser(text)
        try parser.graph(into: &self)
    }

    fileprivate mutating func begin(name: String, isDirected: Bool) {
        self.name = name
        self.isDirected = isDirected
    }

    fileprivate mutating func node(_ id: String, at place: DefinitionPlaces.Place, _ defaults: [String: String]) -> Int
    {
        if let number = numbers[id] { return number }
        numbers[id] = nodes.count
        nodes.append(Node(id: id, attributes: defaults, place: place))
        return nodes.count - 1
    }

    fileprivate mutating func set(_ attributes: [String: String], of node: Int) {
        nodes[node].attributes.merge(attributes) { $1 }
    }

    fileprivate mutating func connect(
        _ from: Set<Int>,
        _ to: Set<Int>,
        _ attributes: [String: String],
        at place: DefinitionPlaces.Place
    ) {
        for from in from.sorted() {
            for to in to.sorted() { edges.append(Edge(from: from, to: to, attributes: attributes, place: place)) }
        }
    }
}

/// The grammar of https://graphviz.org/doc/info/lang.html.
private struct DOTParser {
    private enum Token: Equatable {
        /// An identifier; keywords count only where they are not in quotes.
        case id(String, isQuoted: Bool)
        case punctuation(UInt8)
        case arrow(isDirected: Bool)
        case end
    }

    private struct Scope {
        var node: [String: String] = [:]
        var edge: [String: String] = [:]
    }

    private let bytes: [UInt8]
    private var index = 0
    private var line = 1
    private var lineStart = 0
    private var token = Token.end
    private var place = DefinitionPlaces.Place(line: 1, column: 1)
    private var depth = 0

    init(_ text: String) {
        bytes = Array(text.utf8)
    }

    // MARK: Statements

    mutating func graph(into graph: inout DOTGraph) throws(MillraceError) {
        try advance()
        _ = try accept(keyword: "strict")
        let isDirected = try accept(keyword: "digraph")
        if !isDirected, try !accept(keyword: "graph") { throw problem("a graph begins with graph or digraph") }
        var name = ""
        if case .id(let text, _) = token {
            name = text
            try advance()
        }
        graph.begin(name: name, isDirected: isDirected)
        try expect("{")
        _ = try statements(&graph, Scope())
        guard token == .end else { throw problem("a file holds one graph; something stands behind its end") }
    }

    /// - Returns: The nodes that they name.
    private mutating func statements(_ graph: inout DOTGraph, _ outer: Scope) throws(MillraceError) -> Set<Int> {
        depth += 1
        defer { depth -= 1 }
        guard depth < 200 else { throw problem("the graph is nested too deeply") }
        var scope = outer
        var named: Set<Int> = []
        while token != .punctuation(UInt8(ascii: "}")) {
            guard token != .end else { throw problem("the graph does not end: a } is missing") }
            if try accept(";") { continue }
            try statement(&graph, &scope, &named)
        }
        try advance()
        return named
    }

    private mutating func statement(_ graph: inout DOTGraph, _ scope: inout Scope, _ named: inout Set<Int>)
        throws(MillraceError)
    {
        for word in ["graph", "node", "edge"] where isKeyword(word) {
            try advance()
            let attributes = try attributes()
            if word == "node" { scope.node.merge(attributes) { $1 } }
            if word == "edge" { scope.edge.merge(attributes) { $1 } }
            return
        }
        let start = place
        var isNode = false
        var left: Set<Int> = []
        if case .id(let id, _) = token, !isKeyword("subgraph") {
            try advance()
            if try accept("=") {
                _ = try identifier()
                return
            }
            try port()
            isNode = true
            left = [graph.node(id, at: start, scope.node)]
        } else {
            left = try subgraph(&graph, scope)
        }
        named.formUnion(left)
        var ends = [left]
        while case .arrow(let isDirected) = token {
            guard isDirected == graph.isDirected else {
                throw problem(isDirected ? "-> stands in a graph that is no digraph" : "-- stands in a digraph")
            }
            try advance()
            if case .id(let id, _) = token, !isKeyword("subgraph") {
                let at = place
                try advance()
                try port()
                ends.append([graph.node(id, at: at, scope.node)])
            } else {
                ends.append(try subgraph(&graph, scope))
            }
            named.formUnion(ends[ends.count - 1])
        }
        let attributes = try attributes()
        if ends.count > 1 {
            let all = scope.edge.merging(attributes) { $1 }
            for (from, to) in zip(ends, ends.dropFirst()) { graph.connect(from, to, all, at: start) }
        } else if isNode {
            for node in left { graph.set(attributes, of: node) }
        }
    }

    private mutating func subgraph(_ graph: inout DOTGraph, _ scope: Scope) throws(MillraceError) -> Set<Int> {
        if try accept(keyword: "subgraph"), case .id = token { try advance() }
        try expect("{")
        return try statements(&graph, scope)
    }

    private mutating func port() throws(MillraceError) {
        while try accept(":") { _ = try identifier() }
    }

    private mutating func attributes() throws(MillraceError) -> [String: String] {
        var attributes: [String: String] = [:]
        while try accept("[") {
            while try !accept("]") {
                let name = try identifier()
                attributes[name] = try accept("=") ? try identifier() : "true"
                if try !accept(",") { _ = try accept(";") }
            }
        }
        return attributes
    }

    // MARK: Words

    private func isKeyword(_ word: String) -> Bool {
        if case .id(let text, isQuoted: false) = token { text.lowercased() == word } else { false }
    }

    private mutating func accept(keyword: String) throws(MillraceError) -> Bool {
        guard isKeyword(keyword) else { return false }
        try advance()
        return true
    }

    private mutating func accept(_ character: Character) throws(MillraceError) -> Bool {
        guard token == .punctuation(character.asciiValue!) else { return false }
        try advance()
        return true
    }

    private mutating func expect(_ character: Character) throws(MillraceError) {
        guard try accept(character) else { throw problem("a \(character) is missing") }
    }

    private mutating func identifier() throws(MillraceError) -> String {
        guard case .id(let text, _) = token else { throw problem("a name is missing") }
        try advance()
        return text
    }

    private func problem(_ text: String) -> MillraceError {
        MillraceError(.malformed, "This is no graph in DOT: at line \(place.line), column \(place.column) \(text).")
    }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }
    private var next: UInt8? { index + 1 < bytes.count ? bytes[index + 1] : nil }

    private mutating func step() {
        if bytes[index] == UInt8(ascii: "\n") {
            line += 1
            lineStart = index + 1
        }
        index += 1
    }

    private mutating func advance() throws(MillraceError) {
        try skip()
        place = .init(line: line, column: index - lineStart + 1)
        guard let byte = current else { return token = .end }
        switch byte {
        case UInt8(ascii: "\""):
            var text = try quoted()
            try skip()
            // "a" + "b" is one text.
            while current == UInt8(ascii: "+") {
                step()
                try skip()
                guard current == UInt8(ascii: "\"") else { throw problem("+ joins texts in quotes") }
                text += try quoted()
                try skip()
            }
            token = .id(text, isQuoted: true)
        case UInt8(ascii: "<"):
            token = .id(try markup(), isQuoted: true)
        case UInt8(ascii: "-") where next == UInt8(ascii: ">") || next == UInt8(ascii: "-"):
            token = .arrow(isDirected: next == UInt8(ascii: ">"))
            index += 2
        case _ where Self.isWord(byte) || byte == UInt8(ascii: "-"):
            let from = index
            repeat { index += 1 } while current.map(Self.isWord) ?? false
            token = .id(String(decoding: bytes[from..<index], as: UTF8.self), isQuoted: false)
        default:
            guard "{}[];,=:".utf8.contains(byte) else { throw problem("stands a character that means nothing there") }
            token = .punctuation(byte)
            index += 1
        }
    }

    /// Letters, digits, `_`, the dot of a number, and all that is beyond ASCII.
    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), 0x80...:
            true
        default: false
        }
    }

    /// Blanks, comments, and lines that a preprocessor left.
    private mutating func skip() throws(MillraceError) {
        while let byte = current {
            if byte == UInt8(ascii: "#") && bytes[lineStart..<index].allSatisfy({ $0 == 0x20 || $0 == 0x09 })
                || byte == UInt8(ascii: "/") && next == UInt8(ascii: "/")
            {
                while let byte = current, byte != UInt8(ascii: "\n") { index += 1 }
            } else if byte == UInt8(ascii: "/") && next == UInt8(ascii: "*") {
                place = .init(line: line, column: index - lineStart + 1)
                repeat {
                    step()
                    guard index < bytes.count else { throw problem("a comment begins that does not end") }
                } while !(bytes[index - 1] == UInt8(ascii: "*") && bytes[index] == UInt8(ascii: "/"))
                index += 1
            } else if byte == 0x20 || (0x09...0x0d).contains(byte) || isByteOrderMark {
                if isByteOrderMark { index += 2 }
                step()
            } else {
                return
            }
        }
    }

    private var isByteOrderMark: Bool { index == 0 && bytes.starts(with: [0xef, 0xbb, 0xbf]) }

    /// Only a quotation mark is escaped in a name; what else a backslash says concerns drawing.
    private mutating func quoted() throws(MillraceError) -> String {
        place = .init(line: line, column: index - lineStart + 1)
        var text: [UInt8] = []
        step()
        while let byte = current, byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\"), let next {
                if next == UInt8(ascii: "\"") {
                    text.append(next)
                } else if next != UInt8(ascii: "\n") {
                    text.append(contentsOf: [byte, next])
                }
                step()
            } else {
                text.append(byte)
            }
            step()
        }
        guard current != nil else { throw problem("a quotation begins that does not end") }
        step()
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func markup() throws(MillraceError) -> String {
        let from = index
        var open = 0
        repeat {
            guard let byte = current else { throw problem("a < stands that has no >") }
            if byte == UInt8(ascii: "<") { open += 1 }
            if byte == UInt8(ascii: ">") { open -= 1 }
            step()
        } while open > 0
        return String(decoding: bytes[from..<index], as: UTF8.self)
    }
}
