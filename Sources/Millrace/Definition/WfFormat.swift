import Foundation

/// A run that somebody recorded, in WfFormat 1.5 of the WfCommons project.
///
/// Only the graph and the runtimes are taken over. Commands are other people's shell text: they are not even read.
struct WfFormat {
    private var name: String
    private var tasks: [Task]
    private var runtimes: [String: Double]

    private struct File: Decodable {
        var name: String?
        var schemaVersion: String
        var workflow: Workflow
    }

    private struct Workflow: Decodable {
        var specification: Specification
        var execution: Execution?
    }

    private struct Specification: Decodable { var tasks: [Task] }

    private struct Task: Decodable {
        var id: String
        var parents: [String]?
        var children: [String]?
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
        tasks = file.workflow.specification.tasks
        runtimes = [:]
        for task in file.workflow.execution?.tasks ?? [] {
            guard let seconds = task.runtimeInSeconds else { continue }
            guard seconds >= 0, seconds.isFinite else {
                throw MillraceError(.malformed, "Task \"\(task.id)\" has a runtime of \(seconds) seconds.")
            }
            runtimes[task.id] = seconds
        }
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
        let steps = zip(tasks, needs).map { task, needs in
            let seconds = timeScale > 0 ? runtimes[task.id].map { $0 * timeScale } : nil
            return WorkflowDefinition.Step(
                key: task.id,
                handler: seconds == nil ? "noop" : "sleep",
                needs: needs.map { tasks[$0].id },
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
        for (number, task) in tasks.enumerated() where numbers.updateValue(number, forKey: task.id) != nil {
            throw MillraceError(.malformed, "Two tasks have the id \"\(task.id)\".")
        }
        func number(_ id: String, of task: Task, _ relation: String) throws(MillraceError) -> Int {
            guard let number = numbers[id] else {
                throw MillraceError(.malformed, "Task \"\(task.id)\" has a \(relation) \"\(id)\" that does not exist.")
            }
            guard id != task.id else {
                throw MillraceError(.malformed, "Task \"\(task.id)\" is its own \(relation).")
            }
            return number
        }
        var needs = [[Int]](repeating: [], count: tasks.count)
        for (index, task) in tasks.enumerated() {
            for id in task.parents ?? [] { needs[index].append(try number(id, of: task, "parent")) }
            for id in task.children ?? [] { needs[try number(id, of: task, "child")].append(index) }
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
        ["1.5", "1.6"].contains(version)
    }

    private static func unsupported(_ version: String) -> MillraceError {
        MillraceError(
            .unsupported,
            "WfFormat \(version) is not supported.",
            hint: "Versions 1.5 and 1.6 are; the WfCommons tools convert older files."
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
