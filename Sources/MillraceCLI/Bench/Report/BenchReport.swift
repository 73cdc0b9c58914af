import Millrace

/// What a benchmark answers: a table for people, and one flat object for programs.
///
/// Names are those of the object: `snake_case`, with their unit (`_seconds`, `_ms`, `_bytes_per_step`).
package struct BenchReport: Encodable, Sendable {
    let benchmark: String
    private(set) var settings: [Entry] = []
    private(set) var figures: [Entry] = []
    private(set) var latencies: [(name: String, percentiles: Percentiles)] = []
    private(set) var verdicts: [Verdict] = []
    private(set) var tables: [(name: String, columns: [String], rows: [[JSONValue]])] = []

    struct Entry: Sendable, Hashable {
        var name: String
        var value: JSONValue
    }

    /// A bound and whether it was kept.
    struct Verdict: Encodable, Sendable, Hashable {
        var name: String
        var measured: Double
        /// The most that `measured` may be.
        var bound: Double
        var unit: String
        var ok: Bool { measured <= bound }

        private enum CodingKeys: CodingKey { case name, measured, bound, unit, ok }

        func encode(to encoder: any Encoder) throws {
            var object = encoder.container(keyedBy: CodingKeys.self)
            try object.encode(name, forKey: .name)
            try object.encode(JSONValue(figure: measured), forKey: .measured)
            try object.encode(bound, forKey: .bound)
            try object.encode(unit, forKey: .unit)
            try object.encode(ok, forKey: .ok)
        }
    }

    package init(_ benchmark: String) {
        self.benchmark = benchmark
    }

    /// Whether every bound was kept.
    package var passed: Bool { verdicts.allSatisfy(\.ok) }

    package mutating func set(_ name: String, _ value: String) {
        settings.append(Entry(name: name, value: .string(value)))
    }
    package mutating func set(_ name: String, _ value: Int?) {
        settings.append(Entry(name: name, value: value.map { .integer(Int64($0)) } ?? .null))
    }
    package mutating func set(_ name: String, _ value: Double) {
        settings.append(Entry(name: name, value: JSONValue(figure: value)))
    }
    package mutating func set(_ name: String, _ value: Bool) { settings.append(Entry(name: name, value: .bool(value))) }

    package mutating func add(_ name: String, _ value: Int) {
        figures.append(Entry(name: name, value: .integer(Int64(value))))
    }
    /// nil where it cannot be measured here.
    package mutating func add(_ name: String, _ value: Double?) {
        figures.append(Entry(name: name, value: value.map { JSONValue(figure: $0) } ?? .null))
    }
    /// For programs alone.
    package mutating func add(_ name: String, _ value: [JSONValue]) {
        figures.append(Entry(name: name, value: .array(value)))
    }
    /// For programs alone.
    package mutating func add(_ name: String, _ value: [String: JSONValue]) {
        figures.append(Entry(name: name, value: .object(value)))
    }
    package mutating func add(_ name: String, _ percentiles: Percentiles) { latencies.append((name, percentiles)) }
    /// The same figures of several things: an array of objects, and a table.
    package mutating func add(_ name: String, columns: [String], rows: [[JSONValue]]) {
        tables.append((name, columns, rows))
    }
    package mutating func judge(_ name: String, _ measured: Double, atMost bound: Double, _ unit: String) {
        verdicts.append(Verdict(name: name, measured: measured, bound: bound, unit: unit))
    }

    // MARK: For programs

    package func encode(to encoder: any Encoder) throws {
        var object = encoder.container(keyedBy: Key.self)
        try object.encode(benchmark, forKey: Key("benchmark"))
        for entry in settings + figures { try object.encode(entry.value, forKey: Key(entry.name)) }
        for (name, percentiles) in latencies { try object.encode(percentiles, forKey: Key(name)) }
        for (name, columns, rows) in tables {
            let objects = rows.map { JSONValue.object(Dictionary(uniqueKeysWithValues: zip(columns, $0))) }
            try object.encode(objects, forKey: Key(name))
        }
        guard !verdicts.isEmpty else { return }
        try object.encode(verdicts, forKey: Key("verdicts"))
        try object.encode(passed, forKey: Key("ok"))
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    // MARK: For people

    func text(for terminal: Terminal) -> String {
        var parts = [benchmark + settings.map { ", \(Self.title($0.name)) \(Self.text($0.value))" }.joined()]
        let plain = figures.filter { figure in
            switch figure.value {
            case .array, .object: false
            default: true
            }
        }
        if !plain.isEmpty {
            var table = Table(columns: [.text("figure"), .number("value")])
            table.rows = plain.map { [Self.title($0.name), Self.text($0.value)] }
            parts.append(table.render(for: terminal))
        }
        for (_, columns, rows) in tables {
            var table = Table(columns: columns.map { .number(Self.title($0)) })
            table.rows = rows.map { $0.map { Self.text($0) } }
            parts.append(table.render(for: terminal))
        }
        if !latencies.isEmpty {
            var table = Table(columns: [.text("milliseconds")] + Percentiles.titles.map { .number($0) })
            table.rows = latencies.map { name, percentiles in
                [Self.title(name.hasSuffix("_ms") ? String(name.dropLast(3)) : name)] + percentiles.cells
            }
            parts.append(table.render(for: terminal))
        }
        if !verdicts.isEmpty {
            var table = Table(columns: [.text("bound"), .number("measured"), .number("at most"), .state("verdict")])
            table.rows = verdicts.map { verdict in
                [
                    "\(verdict.name), \(verdict.unit)", Self.number(verdict.measured), Self.number(verdict.bound),
                    verdict.ok ? "ok" : "missed",
                ]
            }
            parts.append(table.render(for: terminal))
        }
        return parts.joined(separator: "\n\n")
    }

    private static func title(_ name: String) -> String { name.replacing("_", with: " ") }

    private static func text(_ value: JSONValue) -> String {
        switch value {
        case .null: "-"
        case .integer(let value): Spell.count(value)
        case .number(let value): number(value)
        case .string(let value): value
        case .bool(let value): value ? "yes" : "no"
        case .array, .object: value.json
        }
    }

    private static func number(_ value: Double) -> String {
        switch abs(value) {
        case 0: "0"
        case ..<0.01: Spell.decimal(value, places: 5)
        case ..<10: Spell.decimal(value, places: 3)
        case ..<1000: Spell.decimal(value)
        case ..<1e15: Spell.count(Int(value.rounded()))
        default: "\(value)"
        }
    }
}

extension JSONValue {
    /// A measured number; what is none (a share of nothing) is null.
    init(figure: Double) {
        self = figure.isFinite ? .number(figure) : .null
    }
}
