import Foundation

/// A run that somebody recorded, in WfFormat 1.2 to 1.6 of the WfCommons project.
///
/// Only the graph and the runtimes are taken over. Commands are other people's shell text: they are not even read.
struct WfFormat {
    private var name: String
    private var tasks: [Task]
    /// The keys of the tasks: their ids, or their names before 1.5, when names were what tasks called each other by.
    private var keys: [String]
    private var runtimes: [String: Double]

    private struct File: Decodable {
        var name: String?
        var schemaVersion: String
        var workflow: Workflow
    }

    /// Since 1.5 the graph and what was measured stand apart; before, each task carries everything.
    private struct Workflow: Decodable {
        var specification: Specification?
        var execution: Execution?
        var tasks: [Task]?
        /// What 1.2 calls them.
        var jobs: [Task]?
    }

    private struct Specification: Decodable { var tasks: [Task] }

    private struct Task: Decodable {
        var id: String?
        var name: String?
        var parents: [String]?
        var children: [String]?
        var runtimeInSeconds: Double?
        /// Its name up to 1.3.
        var runtime: Double?
    }

    private struct Execution: Decodable { var tasks: [ExecutedTask]? }

    private struct ExecutedTask: Decodable {
        var id: String
        var runtimeInSeconds: Double?
    }

    private struct Version: Decodable { var schemaVersion: String? }

    init(utf8: Data) throws(MillraceError) {
        let file: File
        do {
            let decoder = JSONDecoder()
            file = try decoder.decode(File.self, from: utf8)
        } catch {
            throw Self.refusal(utf8, error)
        }
        guard Self.isSupported(file.schemaVersion) else { throw Self.unsupported(file.schemaVersion) }
        name = file.name ?? ""
        if let specification = file.workflow.specification {
            tasks = specification.tasks
            keys = try Self.keys(tasks, \.id, "id")
            runtimes = try Self.runtimes((file.workflow.execution?.tasks ?? []).map { ($0.id, $0.runtimeInSeconds) })
        } else if let flat = file.workflow.tasks ?? file.workflow.jobs {
            tasks = flat
            // Some recorders gave all tasks of a kind the same name, and told them apart by id.
            let hasNames = Set(flat.compactMap(\.name)).count == flat.count
            keys = try hasNames ? Self.keys(flat, \.name, "name") : Self.keys(flat, \.id, "id")
            runtimes = try Self.runtimes(zip(keys, flat).map { ($0, $1.runtimeInSeconds ?? $1.runtime) })
        } else {
            throw MillraceError(.malformed, "This is no valid WfFormat \(file.schemaVersion): its workflow has no tasks.")
        }
    }

    private static func keys(
        _ tasks: [Task],
        _ property: KeyPath<Task, String?>,
        _ title: String
    ) throws(MillraceError) -> [String] {
        var keys: [String] = []
        keys.reserveCapacity(tasks.count)
        for (number, task) in tasks.enumerated() {
            guard let key = task[keyPath: property] else {
                throw MillraceError(.malformed, "Task \(number + 1) has no \(title).")
            }
            keys.append(key)
        }
        return keys
    }

    private static func runtimes(_ recorded: [(String, Double?)]) throws(MillraceError) -> [String: Double] {
        var runtimes = [String: Double](minimumCapacity: recorded.count)
        for case (let key, let seconds?) in recorded {
            guard seconds >= 0, seconds.isFinite else {
                throw MillraceError(.malformed, "Task \"\(key)\" has a runtime of \(seconds) seconds.")
            }
            runtimes[key] = seconds
        }
        return runtimes
    }

    /// The workflow that does what was recorded: a step a task, which sleeps as long as the task ran.
    func definition(timeScale: Double, fallbackName: String) throws(MillraceError) -> WorkflowDefinition {
        guard !tasks.isEmpty else { throw MillraceError(.malformed, "The workflow has no tasks.") }
        guard timeScale >= 0, timeScale.isFinite else {
            throw MillraceError(
                .malformed,
                "A time scale of \(timeScale) makes no sense.",
                hint: "Give a number from 0 up."
            )
        }
        let needs = try needs()
        let workflow = Self.workflowName(name.isEmpty ? fallbackName : name)
        let steps = zip(keys, needs).map { key, needs in
            let seconds = timeScale > 0 ? runtimes[key].map { $0 * timeScale } : nil
            return WorkflowDefinition.Step(
                key: key,
                handler: seconds == nil ? "noop" : "sleep",
                needs: needs.map { keys[$0] },
                expected: seconds
            )
        }
        return WorkflowDefinition(name: workflow, steps: steps) { step in
            step.expected.map { ["seconds": .number($0)] }
        }
    }

    /// The needs of each task, by number: what it calls its parents, and who calls it a child.
    private func needs() throws(MillraceError) -> [[Int]] {
        var numbers = [String: Int](minimumCapacity: tasks.count)
        for (number, key) in keys.enumerated() where numbers.updateValue(number, forKey: key) != nil {
            throw MillraceError(.malformed, "Two tasks have the id \"\(key)\".")
        }
        // Where names are the keys, some files call tasks by their ids all the same.
        var others: [String: Int] = [:]
        for (number, task) in tasks.enumerated() {
            if let id = task.id, numbers[id] == nil { others[id] = number }
        }
        func number(_ id: String, of task: String, _ relation: String) throws(MillraceError) -> Int {
            guard let number = numbers[id] ?? others[id] else {
                throw MillraceError(.malformed, "Task \"\(task)\" has a \(relation) \"\(id)\" that does not exist.")
            }
            guard keys[number] != task else {
                throw MillraceError(.malformed, "Task \"\(task)\" is its own \(relation).")
            }
            return number
        }
        var needs = [[Int]](repeating: [], count: tasks.count)
        for (index, task) in tasks.enumerated() {
            for id in task.parents ?? [] { needs[index].append(try number(id, of: keys[index], "parent")) }
            for id in task.children ?? [] { needs[try number(id, of: keys[index], "child")].append(index) }
        }
        return needs.map { numbers in
            // Both sides usually name the same edge, so each stands here twice.
            var unique: [Int] = []
            for number in numbers.sorted() where number != unique.last { unique.append(number) }
            return unique
        }
    }

    /// Names in the wild are free text; a workflow's name is an identifier of at most 200 bytes.
    private static func workflowName(_ text: String) -> String {
        // Some recorders gave the name of a file.
        let text = text.hasSuffix(".json") ? String(text.dropLast(5)) : text
        let name = String(
            decoding: text.utf8.prefix(199).map { byte -> UInt8 in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: ":"),
                    UInt8(ascii: "#"), UInt8(ascii: "-"):
                    byte
                default: UInt8(ascii: "_")
                }
            },
            as: UTF8.self
        )
        return name.first.map { $0.isLetter || $0 == "_" } ?? false ? name : "_" + name
    }

    // MARK: Refusing

    /// 1.6 adds keys that need not be read.
    private static func isSupported(_ version: String) -> Bool {
        ["1.2", "1.3", "1.4", "1.5", "1.6"].contains(version)
    }

    private static func unsupported(_ version: String) -> MillraceError {
        MillraceError(
            .unsupported,
            "WfFormat \(version) is not supported.",
            hint: "Versions 1.2 to 1.6 are; the WfCommons tools convert older files."
        )
    }

    private static func refusal(_ utf8: Data, _ error: any Error) -> MillraceError {
        if case DecodingError.dataCorrupted = error {
            return MillraceError(.malformed, "This is no JSON.", detail: JSONProblem.describe(error, in: utf8))
        }
        guard let version = (try? JSONDecoder().decode(Version.self, from: utf8))?.schemaVersion else {
            return MillraceError(.malformed, "This is no WfFormat: it has no \"schemaVersion\".")
        }
        return isSupported(version)
            ? MillraceError(
                .malformed,
                "This is no valid WfFormat \(version).",
                detail: JSONProblem.describe(error, in: utf8)
            )
            : unsupported(version)
    }
}
