/// Plain lists of edges, as tables of separated values.
///
/// A header names the columns: `from,to` and its synonyms, where each row is an edge; or `key,needs` and its synonyms, where
/// each row is a step with the list of what it needs. Without a header each row is an edge, from first to second.
struct EdgeListImporter: Importer {
    /// Columns, by the names that people give them.
    private enum Column: String {
        case from, to, key, needs, dependents, seconds, queue, command, description

        init?(header: String) {
            let name = String(header.lowercased().map { $0 == " " || $0 == "-" ? "_" : $0 })
            for (column, names) in Self.names where names.contains(name) {
                self = column
                return
            }
            return nil
        }

        private static let names: [(Column, Set<String>)] = [
            (.from, ["from", "source", "src", "parent", "predecessor", "before", "tail"]),
            (.to, ["to", "target", "destination", "dst", "dest", "child", "successor", "head"]),
            (.key, ["key", "step", "task", "node", "id", "name", "job", "task_id", "step_id", "node_id", "job_id"]),
            (
                .needs,
                [
                    "needs", "need", "depends", "depends_on", "dependson", "dependency", "dependencies", "deps",
                    "requires",
                    "parents", "upstream", "predecessors", "after", "prerequisites", "blocked_by",
                ]
            ),
            (.dependents, ["dependents", "downstream", "children", "successors", "blocks"]),
            (
                .seconds,
                [
                    "seconds", "duration", "runtime", "expected", "duration_seconds", "runtime_seconds", "duration_s",
                    "runtime_s", "runtimeinseconds",
                ]
            ),
            (.queue, ["queue"]),
            (.command, ["command"]),
            (.description, ["description", "label", "title"]),
        ]
    }

    private typealias Row = SeparatedValues.Row

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        var rows = SeparatedValues.rows(of: file.text, separator: file.format == .tsv ? "\t" : nil, findings)
        guard let first = rows.first else { throw MillraceError(.malformed, "The list is empty.") }
        var graph = StepList(options)
        if let columns = columns(of: first, findings) {
            rows.removeFirst()
            if columns.contains(.key) {
                readSteps(rows, columns, options, &graph, findings)
            } else {
                readEdges(rows, columns, &graph, findings)
            }
        } else if rows.allSatisfy({ $0.fields.count <= 2 }) {
            readEdges(rows, [.from, .to], &graph, findings)
        } else {
            findings.mistake(
                "",
                "Without a header a row has two columns. Name the columns from,to or key,needs.",
                at: first.place
            )
        }
        return ImportedWorkflow(name: "", steps: graph.steps)
    }

    /// The columns that the first row names, if it is a header.
    private static func columns(of row: Row, _ findings: ImportFindings) -> [Column?]? {
        var columns = row.fields.map { Column(header: $0) }
        let known = Set(columns.compactMap { $0 })
        if known.isSuperset(of: [.from, .to]) {
            // `source` and `key` in one header: the edge is meant.
            columns = columns.map { $0 == .key ? nil : $0 }
        } else if known.contains(.key) && (row.fields.count == 1 || known.count > 1) {
            // task,parent or task,target: the other end of the edge.
            columns = columns.map { $0 == .from ? .needs : $0 == .to ? .dependents : $0 }
        } else if !known.isDisjoint(with: [.from, .to]),
            let other = columns.firstIndex(where: { $0 == .needs || $0 == .dependents })
        {
            // upstream,target or source,downstream.
            columns[other] = columns[other] == .needs ? .from : .to
            guard Set(columns.compactMap { $0 }).isSuperset(of: [.from, .to]) else { return nil }
        } else if known == [.needs, .dependents] {
            columns = columns.map { $0 == .needs ? .from : $0 == .dependents ? .to : nil }
        } else {
            return nil
        }
        for (field, column) in zip(row.fields, columns) where column == nil {
            findings.leaveBehind("column \(field)", "It does not concern the graph.", at: row.place)
        }
        var seen: Set<Column> = []
        for (field, column) in zip(row.fields, columns) {
            if let column, !seen.insert(column).inserted {
                findings.mistake("column \(field)", "Another column says the same.", at: row.place)
            }
        }
        return columns
    }

    private static func readEdges(
        _ rows: [Row],
        _ columns: [Column?],
        _ graph: inout StepList,
        _ findings: ImportFindings
    ) {
        let from = columns.firstIndex(of: .from)!
        let to = columns.firstIndex(of: .to)!
        for row in rows {
            guard fits(row, columns, findings) else { continue }
            let ends = (row[from], row[to])
            switch (ends.0.isEmpty, ends.1.isEmpty) {
            case (true, true): findings.mistake("", "The row names no step.", at: row.place)
            case (false, true): graph.add(ends.0)
            case (true, false): graph.add(ends.1)
            case (false, false): graph.addEdge(from: ends.0, to: ends.1)
            }
        }
    }

    private static func readSteps(
        _ rows: [Row],
        _ columns: [Column?],
        _ options: ImportOptions,
        _ graph: inout StepList,
        _ findings: ImportFindings
    ) {
        func text(_ row: Row, _ column: Column) -> String {
            columns.firstIndex(of: column).map { row[$0] } ?? ""
        }
        let rows = rows.filter { row in
            guard fits(row, columns, findings) else { return false }
            guard !text(row, .key).isEmpty else {
                findings.mistake("", "The row names no step.", at: row.place)
                return false
            }
            return true
        }
        // A table of steps has a row for each; a list of edges leaves out steps that need nothing.
        let related = columns.contains(.needs) ? Column.needs : .dependents
        let isEdgeList = rows.allSatisfy { !text($0, related).isEmpty }
        let keys = Set(rows.map { text($0, .key) })
        for row in rows {
            let key = text(row, .key)
            var seconds: Double?
            if !text(row, .seconds).isEmpty {
                seconds = Double(text(row, .seconds))
                if seconds.map({ $0 < 0 || !$0.isFinite }) ?? true {
                    findings.mistake(
                        "step \(key)",
                        "\"\(text(row, .seconds))\" is no number of seconds.",
                        at: row.place
                    )
                }
            }
            graph.add(key)
            graph.work(
                key,
                StepList.Work(
                    seconds: seconds,
                    queue: text(row, .queue),
                    command: text(row, .command),
                    description: text(row, .description)
                ),
                at: row.place,
                findings
            )
            for need in list(text(row, .needs), keys) { graph.addEdge(from: need, to: key, declaresFrom: isEdgeList) }
            for dependent in list(text(row, .dependents), keys) { graph.addEdge(from: key, to: dependent) }
        }
    }

    private static func fits(_ row: Row, _ columns: [Column?], _ findings: ImportFindings) -> Bool {
        if row.fields.count > columns.count {
            let count = columns.count == 1 ? "one column" : "\(columns.count) columns"
            findings.mistake("", "The row has \(row.fields.count) fields, but there are \(count).", at: row.place)
        }
        return row.fields.count <= columns.count
    }

    /// The keys in a cell: one that is a key as it stands, or several with `;`, `,`, `|` or blanks between them.
    private static func list(_ cell: String, _ keys: Set<String>) -> [String] {
        if cell.isEmpty { return [] }
        if keys.contains(cell) { return [cell] }
        let parts = cell.split(whereSeparator: { ";,|".contains($0) }).map { $0.trimmed }.filter { !$0.isEmpty }
        guard parts.count == 1 else { return parts }
        let words = cell.split(whereSeparator: \.isWhitespace).map(String.init)
        return words.allSatisfy(keys.contains) ? words : parts
    }
}

/// Steps in the order in which they are first named.
struct StepList {
    /// What a list can say of a step besides its needs.
    struct Work {
        var seconds: Double?
        var queue = ""
        var command = ""
        var description = ""
    }

    private let options: ImportOptions
    private var numbers: [String: Int] = [:]
    private var edges: Set<Edge> = []
    private(set) var steps: [ImportedStep] = []

    private struct Edge: Hashable { var from, to: String }

    init(_ options: ImportOptions) {
        self.options = options
    }

    mutating func add(_ key: String) {
        guard numbers[key] == nil else { return }
        numbers[key] = steps.count
        var step = ImportedStep(key: key)
        step.work(options)
        steps.append(step)
    }

    /// - Parameter declaresFrom: Whether `from` is a step because it is named here; else the server names it where it is none.
    mutating func addEdge(from: String, to: String, declaresFrom: Bool = true) {
        let (from, to) = options.isReversed ? (to, from) : (from, to)
        if declaresFrom || options.isReversed { add(from) }
        add(to)
        if edges.insert(Edge(from: from, to: to)).inserted { steps[numbers[to]!].needs.append(from) }
    }

    mutating func work(_ key: String, _ work: Work, at place: DefinitionPlaces.Place?, _ findings: ImportFindings) {
        let number = numbers[key]!
        if !work.description.isEmpty && work.description != key { steps[number].description = work.description }
        if !work.queue.isEmpty { steps[number].queue = work.queue }
        if work.seconds != nil { steps[number].work(options, seconds: work.seconds) }
        guard !work.command.isEmpty else { return }
        if options.handler == .shell {
            steps[number].shell(.string(work.command))
        } else {
            findings.leaveBehind("step \(key)", "Its command.", at: place)
        }
    }
}

/// RFC 4180, with any of `,` `;` and tab between fields, and lines that begin with `#` as comments.
enum SeparatedValues {
    struct Row {
        var line: Int
        var fields: [String]

        var place: DefinitionPlaces.Place { .init(line: line, column: 1) }
        /// Fields that a row leaves out at its end are empty.
        subscript(index: Int) -> String { index < fields.count ? fields[index] : "" }
    }

    static func rows(of text: String, separator: Character?, _ findings: ImportFindings) -> [Row] {
        var bytes = Array(text.utf8)
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes.removeFirst(3) }
        let separator = separator?.asciiValue ?? guess(bytes)
        var rows: [Row] = []
        var line = 1
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "#") {
                while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { index += 1 }
                index += 1
                line += 1
                continue
            }
            let start = line
            var fields: [String] = []
            var isEnd = false
            while !isEnd {
                fields.append(field(bytes, &index, &line, separator, start: start, findings))
                isEnd = index >= bytes.count || bytes[index] != separator
                index += 1
            }
            line += 1
            if fields.contains(where: { !$0.isEmpty }) { rows.append(Row(line: start, fields: fields)) }
        }
        return rows
    }

    /// One field; stands on what ends it afterwards: the separator, the line's end, or the text's.
    private static func field(
        _ bytes: [UInt8],
        _ index: inout Int,
        _ line: inout Int,
        _ separator: UInt8,
        start: Int,
        _ findings: ImportFindings
    ) -> String {
        func isBlank(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: " ") || (byte == UInt8(ascii: "\t") && separator != byte)
        }
        while index < bytes.count, isBlank(bytes[index]) { index += 1 }
        guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else {
            let from = index
            while index < bytes.count, bytes[index] != separator, bytes[index] != UInt8(ascii: "\n") { index += 1 }
            return String(decoding: bytes[from..<index], as: UTF8.self).trimmed
        }
        var value: [UInt8] = []
        index += 1
        while true {
            guard index < bytes.count else {
                findings.mistake(
                    "",
                    "The quotation that begins in this row does not end.",
                    at: .init(line: start, column: 1)
                )
                break
            }
            if bytes[index] == UInt8(ascii: "\"") {
                guard index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "\"") else { break }
                index += 1
            }
            if bytes[index] == UInt8(ascii: "\n") { line += 1 }
            value.append(bytes[index])
            index += 1
        }
        index += 1
        let from = index
        while index < bytes.count, bytes[index] != separator, bytes[index] != UInt8(ascii: "\n") { index += 1 }
        if from < index, !String(decoding: bytes[from..<index], as: UTF8.self).trimmed.isEmpty {
            findings.mistake("", "Something stands behind a quotation.", at: .init(line: line, column: 1))
        }
        return String(decoding: value, as: UTF8.self)
    }

    /// What stands most often in the first line that is no comment.
    private static func guess(_ bytes: [UInt8]) -> UInt8 {
        let line = bytes.split(separator: UInt8(ascii: "\n")).first { $0.first != UInt8(ascii: "#") } ?? []
        let candidates = ["\t", ",", ";"].map { Character($0).asciiValue! }
        return candidates.max { left, right in line.count { $0 == left } < line.count { $0 == right } }!
    }
}

extension StringProtocol {
    var trimmed: String {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace })
        else {
            return ""
        }
        return String(self[first...last])
    }
}
