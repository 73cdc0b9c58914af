import Foundation

/// A run that somebody recorded, in WfFormat 1.2 to 1.6 of the WfCommons project.
///
/// A step a task, which sleeps as long as the task ran. Commands are other people's shell text: they are not even read
/// unless they are asked for.
struct WfFormat: Importer {
    private var name: String
    private var tasks: [Task]
    /// The keys of the tasks: their ids, or their names before 1.5, when names were what tasks called each other by.
    private var keys: [String]
    private var executed: [String: ExecutedTask]

    private struct File: Decodable {
        var name: String?
        var schemaVersion: SchemaVersion
        var workflow: Workflow
    }

    /// A text, which some recorders wrote as a number.
    private struct SchemaVersion: Decodable {
        var text: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            text = try (try? container.decode(String.self)) ?? "\(container.decode(Double.self))"
        }
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
        var command: Command?
    }

    private struct Execution: Decodable { var tasks: [ExecutedTask]? }

    private struct ExecutedTask: Decodable {
        var id: String
        var runtimeInSeconds: Double?
        var command: Command?
    }

    private struct Command: Decodable {
        var program: String?
        var arguments: [String]?

        enum CodingKeys: CodingKey { case program, arguments }

        /// Leniently: what is no command is none.
        init(from decoder: any Decoder) {
            let container = try? decoder.container(keyedBy: CodingKeys.self)
            program = try? container?.decode(String.self, forKey: .program)
            arguments = try? container?.decode([String].self, forKey: .arguments)
        }
    }

    private struct Version: Decodable { var schemaVersion: SchemaVersion? }

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        try WfFormat(utf8: Data(file.bytes), findings).workflow(options, findings)
    }

    private init(utf8: Data, _ findings: ImportFindings) throws(MillraceError) {
        let file: File
        do {
            let decoder = JSONDecoder()
            file = try decoder.decode(File.self, from: utf8)
        } catch {
            throw Self.refusal(utf8, error)
        }
        let version = file.schemaVersion.text
        guard Self.isSupported(version) else { throw Self.unsupported(version) }
        name = file.name ?? ""
        if let specification = file.workflow.specification {
            tasks = specification.tasks
            // Some writers left out the ids.
            let hasNames = tasks.allSatisfy { $0.id == nil } && Self.tellsApart(tasks, \.name)
            keys = hasNames ? Self.keys(tasks, \.name, "name", findings) : Self.keys(tasks, \.id, "id", findings)
            let execution = file.workflow.execution?.tasks ?? []
            executed = Dictionary(execution.map { ($0.id, $0) }) { first, _ in first }
        } else if let flat = file.workflow.tasks ?? file.workflow.jobs {
            tasks = flat
            // Some recorders gave all tasks of a kind the same name, and told them apart by id.
            let hasNames = Self.tellsApart(flat, \.name)
            keys = hasNames ? Self.keys(flat, \.name, "name", findings) : Self.keys(flat, \.id, "id", findings)
            let execution = zip(keys, flat).map { key, task in
                ExecutedTask(id: key, runtimeInSeconds: task.runtimeInSeconds ?? task.runtime, command: task.command)
            }
            executed = Dictionary(execution.map { ($0.id, $0) }) { first, _ in first }
        } else {
            throw MillraceError(
                .malformed,
                "This is no valid WfFormat \(version): its workflow has no tasks."
            )
        }
        guard !tasks.isEmpty else { throw MillraceError(.malformed, "The workflow has no tasks.") }
        for (key, task) in executed.sorted(by: { $0.key < $1.key }) {
            if let seconds = task.runtimeInSeconds, seconds < 0 || !seconds.isFinite {
                findings.mistake("task \"\(key)\"", "Its runtime is \(seconds) seconds.")
            }
        }
    }

    private static func tellsApart(_ tasks: [Task], _ property: KeyPath<Task, String?>) -> Bool {
        Set(tasks.compactMap { $0[keyPath: property] }).count == tasks.count
    }

    private static func keys(
        _ tasks: [Task],
        _ property: KeyPath<Task, String?>,
        _ title: String,
        _ findings: ImportFindings
    ) -> [String] {
        zip(tasks, 1...).map { task, number in
            if task[keyPath: property] == nil { findings.mistake("task \(number)", "It has no \(title).") }
            return task[keyPath: property] ?? ""
        }
    }

    private func workflow(_ options: ImportOptions, _ findings: ImportFindings) -> ImportedWorkflow {
        let needs = needs(findings)
        let stepKeys = stepKeys
        let steps = zip(keys, needs).enumerated().map { number, task in
            let (key, needs) = task
            var step = ImportedStep(key: stepKeys[number])
            step.needs = needs.map { stepKeys[$0] }
            step.work(options, seconds: executed[key]?.runtimeInSeconds)
            if options.handler == .shell {
                if let command = Self.command(executed[key]?.command) {
                    step.shell(command)
                } else {
                    findings.refuse("commands", "task \"\(key)\"", "It has no command.")
                }
            }
            return step
        }
        return ImportedWorkflow(name: name, steps: steps)
    }

    /// Names in the wild are free text of any length; what tells tasks apart has to tell steps apart.
    private var stepKeys: [String] {
        var taken: Set<String> = []
        return keys.map { key in
            let unique = StepKey.unique(key, among: taken)
            taken.insert(unique)
            return unique
        }
    }

    /// Some recorders put a whole script where the program belongs.
    private static func command(_ command: Command?) -> JSONValue? {
        guard let program = command?.program, !program.isEmpty else { return nil }
        let arguments = command?.arguments ?? []
        return arguments.isEmpty && program.contains(where: \.isWhitespace)
            ? .string(program) : .array(([program] + arguments).map { .string($0) })
    }

    /// The needs of each task, by number: what it calls its parents, and who calls it a child.
    private func needs(_ findings: ImportFindings) -> [[Int]] {
        var numbers = [String: Int](minimumCapacity: tasks.count)
        for (number, key) in keys.enumerated() where numbers.updateValue(number, forKey: key) != nil {
            findings.mistake("task \"\(key)\"", "Two tasks have this id.")
        }
        // Where names are the keys, some files call tasks by their ids all the same; others do it the other way round.
        var others: [String: Int] = [:]
        for property in [\Task.id, \Task.name] {
            let names = Dictionary(grouping: tasks.indices) { tasks[$0][keyPath: property] }
            for case (let name?, let called) in names where called.count == 1 && numbers[name] == nil {
                others[name] = others[name] ?? called[0]
            }
        }
        func number(_ id: String, of task: String, _ relation: String) -> Int? {
            guard let number = numbers[id] ?? others[id] else {
                findings.mistake("task \"\(task)\"", "It has a \(relation) \"\(id)\" that does not exist.")
                return nil
            }
            guard keys[number] != task else {
                findings.mistake("task \"\(task)\"", "It is its own \(relation).")
                return nil
            }
            return number
        }
        var needs = [[Int]](repeating: [], count: tasks.count)
        for (index, task) in tasks.enumerated() {
            for id in task.parents ?? [] {
                if let parent = number(id, of: keys[index], "parent") { needs[index].append(parent) }
            }
            for id in task.children ?? [] {
                if let child = number(id, of: keys[index], "child") { needs[child].append(index) }
            }
        }
        return needs.map { numbers in
            // Both sides usually name the same edge, so each stands here twice.
            var unique: [Int] = []
            for number in numbers.sorted() where number != unique.last { unique.append(number) }
            return unique
        }
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
        guard let version = (try? JSONDecoder().decode(Version.self, from: utf8))?.schemaVersion?.text else {
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
