import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

/// Workflows of other languages that tests bring in.
enum Imports {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Fixtures").standardizedFileURL

    static func path(_ name: String) -> String {
        directory.appending(path: name).path(percentEncoded: false)
    }

    static func load(
        _ name: String,
        _ format: DefinitionFormat,
        _ change: (inout ImportOptions) -> Void = { _ in }
    ) throws -> ImportedDefinition {
        var options = ImportOptions()
        change(&options)
        return try ImportedDefinition.load(path(name), format: format, options)
    }

    /// Brings in a text, as a file called `workflow`.
    static func read(
        _ text: String,
        _ format: DefinitionFormat,
        _ change: (inout ImportOptions) -> Void = { _ in }
    ) throws -> ImportedDefinition {
        var options = ImportOptions()
        change(&options)
        return try Fixture.withFile("workflow.\(format.rawValue)", text) {
            try ImportedDefinition.load($0, format: format, options)
        }
    }

    static func refusal(
        _ text: String,
        _ format: DefinitionFormat,
        _ change: (inout ImportOptions) -> Void = { _ in }
    ) throws -> MillraceError {
        let error = #expect(throws: MillraceError.self) { try read(text, format, change) }
        return try #require(error)
    }
}

extension ImportedDefinition {
    var needs: [String: [String]] {
        Dictionary(uniqueKeysWithValues: definition.steps.map { ($0.key, $0.needs.sorted()) })
    }

    /// The steps as JSON, by key.
    var steps: [String: [String: JSONValue]] {
        get throws { try definition.stepsByKey }
    }
}

extension WorkflowDefinition {
    /// The definition's members.
    var members: [String: JSONValue] {
        get throws {
            if case .object(let members) = try JSONValue(json: json) { members } else { [:] }
        }
    }

    /// The steps as JSON, by key.
    var stepsByKey: [String: [String: JSONValue]] {
        get throws {
            guard case .array(let steps)? = try members["steps"] else { return [:] }
            return steps.reduce(into: [:]) { all, step in
                if case .object(let step) = step, case .string(let key)? = step["key"] { all[key] = step }
            }
        }
    }
}

/// A database with the extension, and an agent that says of each step how it ends.
struct ImportServer {
    var client: Client
    var work: WorkClient

    static func with(_ body: (ImportServer) async throws -> Void) async throws {
        try await PostgresCluster.with(.plain) { cluster in
            let database = try await cluster.createDatabase(extension: true)
            try await Pool.with(database) { pool in
                try await body(ImportServer(client: Client(pool: pool), work: WorkClient(pool: pool)))
            }
        }
    }

    /// Runs the workflow and answers the states of its steps by key.
    func states(
        _ imported: ImportedDefinition,
        input: JSONValue? = nil,
        failing: Set<String> = [],
        outputs: [String: String] = [:]
    ) async throws -> [String: String] {
        try await run(imported, input: input, failing: failing, outputs: outputs).steps
    }

    /// Runs the workflow, and the runs that are its steps.
    ///
    /// - Parameters:
    ///   - failing: Keys of steps, in whichever of the runs, that fail.
    ///   - outputs: What steps answer, by key.
    /// - Returns: The states of the run and of its own steps by key.
    func run(
        _ imported: ImportedDefinition,
        input: JSONValue? = nil,
        failing: Set<String> = [],
        outputs: [String: String] = [:]
    ) async throws -> (state: String, steps: [String: String]) {
        let definition = imported.definition
        let defined = try #require(try await client.define(imported.definitions).last)
        #expect(defined.steps == definition.steps.count)
        #expect(defined.edges == definition.steps.reduce(0) { $0 + $1.needs.count + ($1.errorHandler == nil ? 0 : 1) })
        let run = try await client.submit(Submission(workflow: defined.workflow, input: input))
        let agent = try await work.register(
            queues: ["default"],
            handlers: Array(Set(imported.definitions.flatMap { $0.steps.map(\.handler) })).filter { !$0.isEmpty },
            name: "imports"
        )
        let capacity = Capacity(maxSteps: 100)
        while true {
            // What goes from run to run is due at once.
            while let due = try await client.keep(), due <= Date() {}
            let claimed = try await work.claim(agent: agent.agentID, capacity: capacity)
            if claimed.isEmpty { break }
            _ = try await work.report(
                agent: agent.agentID,
                claimed.map { step in
                    failing.contains(step.key)
                        ? StepReport(handOut: step.handOut, outcome: .fatal, error: "as told")
                        : StepReport(handOut: step.handOut, outcome: .completed, output: outputs[step.key])
                },
                capacity: nil
            )
        }
        try await work.deregister(agent: agent.agentID)
        let ended = try await client.run(run)
        #expect(ended.isOver)
        // Elements of a step stand behind it, under its key.
        let steps = Dictionary(try await client.steps(of: run).map { ($0.key, $0.state) }) { first, _ in first }
        return (ended.state, steps)
    }
}

/// SplitMix64.
struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
