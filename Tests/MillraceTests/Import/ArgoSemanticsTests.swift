import Foundation
import Millrace
import Testing

/// Random DAGs, run by the engine, against what Argo's documentation says becomes of each task.
@Suite("What Argo would do")
struct ArgoSemanticsTests {
    private indirect enum Depends {
        case task(Int, String)
        case all([Depends])
        case any([Depends])
        case not(Depends)

        var text: String {
            switch self {
            case .task(let number, let result): "t\(number)" + (result.isEmpty ? "" : ".\(result)")
            case .all(let parts): "(" + parts.map(\.text).joined(separator: " && ") + ")"
            case .any(let parts): "(" + parts.map(\.text).joined(separator: " || ") + ")"
            case .not(let inner): "!\(inner.text)"
            }
        }

        var tasks: Set<Int> {
            switch self {
            case .task(let number, _): [number]
            case .all(let parts), .any(let parts): parts.reduce(into: []) { $0.formUnion($1.tasks) }
            case .not(let inner): inner.tasks
            }
        }

        static func random(below count: Int, depth: Int, _ random: inout Generator) -> Depends {
            switch depth == 0 ? 0 : Int.random(in: 0..<6, using: &random) {
            case 1: .all((0..<2).map { _ in .random(below: count, depth: depth - 1, &random) })
            case 2: .any((0..<2).map { _ in .random(below: count, depth: depth - 1, &random) })
            case 3: .not(.random(below: count, depth: 0, &random))
            default:
                .task(
                    Int.random(in: 0..<count, using: &random),
                    ["", "", "", "Succeeded", "Failed", "Skipped", "Omitted"].randomElement(using: &random)!
                )
            }
        }
    }

    private struct Task {
        var depends: Depends?
        var isSkipped: Bool
        var continues: Bool
        var fails: Bool
    }

    private static func tasks(_ random: inout Generator, hasConditions: Bool) -> [Task] {
        (0..<Int.random(in: 2...8, using: &random)).map { number in
            let isFirst = number == 0 || Int.random(in: 0..<4, using: &random) == 0
            return Task(
                depends: isFirst ? nil : .random(below: number, depth: 2, &random),
                isSkipped: hasConditions && Int.random(in: 0..<5, using: &random) == 0,
                continues: Int.random(in: 0..<6, using: &random) == 0,
                fails: Int.random(in: 0..<3, using: &random) == 0
            )
        }
    }

    private static func yaml(_ tasks: [Task]) -> String {
        let lines = tasks.enumerated().map { number, task in
            "          - { name: t\(number), template: t"
                + (task.depends.map { ", depends: \(JSONValue.string($0.text).json)" } ?? "")
                + (task.isSkipped ? ", when: \"{{workflow.parameters.go}} == no\"" : "")
                + (task.continues ? ", continueOn: { failed: true }" : "") + " }"
        }
        return """
            kind: Workflow
            metadata: { name: w }
            spec:
              entrypoint: main
              arguments: { parameters: [{ name: go, value: "yes" }] }
              templates:
                - { name: t, container: { image: x, command: [run] } }
                - name: main
                  dag:
                    tasks:
            \(lines.joined(separator: "\n"))
            """
    }

    /// The phase of each task.
    private static func phases(_ tasks: [Task]) -> [String] {
        var phases: [String] = []
        func holds(_ depends: Depends) -> Bool {
            switch depends {
            case .all(let parts): parts.allSatisfy(holds)
            case .any(let parts): parts.contains(where: holds)
            case .not(let inner): !holds(inner)
            case .task(let number, ""):
                ["Succeeded", "Skipped"].contains(phases[number])
                    || phases[number] == "Failed" && tasks[number].continues
            case .task(let number, let result): phases[number] == result
            }
        }
        for task in tasks {
            let runs = task.depends.map(holds) ?? true
            phases.append(!runs ? "Omitted" : task.isSkipped ? "Skipped" : task.fails ? "Failed" : "Succeeded")
        }
        return phases
    }

    /// Whether the DAG has failed: a target has, or was left out below a task that has.
    private static func fails(_ tasks: [Task], _ phases: [String]) -> Bool {
        let needed = tasks.reduce(into: Set<Int>()) { $0.formUnion($1.depends?.tasks ?? []) }
        /// The phases in which the branches that lead to a task stand behind it.
        func branches(_ number: Int) -> Set<String> {
            guard phases[number] == "Omitted" || phases[number] == "Skipped" else { return [phases[number]] }
            return (tasks[number].depends?.tasks ?? []).reduce(into: []) { $0.formUnion(branches($1)) }
        }
        return tasks.indices.contains {
            !needed.contains($0) && !tasks[$0].continues && branches($0).contains("Failed")
        }
    }

    @Test("Random tasks and dependences")
    func tasks() async throws {
        try await ImportServer.with { server in
            var runs = 0
            for seed in UInt64(1)...80 {
                var random = Generator(state: seed)
                let tasks = Self.tasks(&random, hasConditions: true)
                let yaml = Self.yaml(tasks)
                guard let imported = try Self.imported(yaml, seed) else { continue }
                runs += 1
                let ended = try await server.run(
                    imported,
                    input: .object(["go": .string("yes")]),
                    failing: Set(tasks.indices.filter { tasks[$0].fails }.map { "t\($0)" })
                )
                let states = ["Omitted": "skipped", "Skipped": "skipped", "Failed": "failed", "Succeeded": "completed"]
                for (number, phase) in Self.phases(tasks).enumerated() {
                    #expect(ended.steps["t\(number)"] == states[phase], "seed \(seed), t\(number)\n\(yaml)")
                }
            }
            #expect(runs >= 40)
        }
    }

    @Test("Whether a failure fails the run")
    func outcome() async throws {
        try await ImportServer.with { server in
            var (runs, tolerated) = (0, 0)
            for seed in UInt64(1)...120 {
                var random = Generator(state: seed &+ 1_000_000)
                var tasks = Self.tasks(&random, hasConditions: false)
                // Where several fail, a run may have failed that Argo would let pass.
                for index in tasks.indices { tasks[index].fails = false }
                let failing = Self.phases(tasks).indices.filter { Self.phases(tasks)[$0] == "Succeeded" }
                    .randomElement(using: &random)
                guard let failing else { continue }
                tasks[failing].fails = true
                let yaml = Self.yaml(tasks)
                guard let imported = try Self.imported(yaml, seed) else { continue }
                runs += 1
                let phases = Self.phases(tasks)
                let ended = try await server.run(imported, failing: ["t\(failing)"])
                let fails = Self.fails(tasks, phases)
                if !fails { tolerated += 1 }
                #expect(ended.state == (fails ? "failed" : "completed"), "seed \(seed), t\(failing)\n\(yaml)")
            }
            #expect(runs >= 60 && tolerated >= 10)
        }
    }

    private static func imported(_ yaml: String, _ seed: UInt64) throws -> ImportedDefinition? {
        do {
            return try Imports.read(yaml, .argo) { $0.name = "seed-\(seed)" }
        } catch let error as MillraceError {
            // Some dependences ask for what cannot come to be; that is said, and nothing else.
            #expect(
                error.detail?.split(separator: "\n").allSatisfy { $0.contains("can never come to be") } == true,
                "\(error)"
            )
            return nil
        }
    }
}
