import Foundation
import Millrace
import Testing

@Suite("WfFormat")
struct WfFormatTests {
    private func file(_ tasks: String, execution: String? = nil, version: String = "1.5", name: String = "two")
        -> String
    {
        let execution = execution.map { #", "execution": {"makespanInSeconds": 3, "tasks": [\#($0)]}"# } ?? ""
        return
            #"{"name": "\#(name)", "schemaVersion": "\#(version)", "workflow": {"specification": {"tasks": [\#(tasks)]}\#(execution)}}"#
    }

    private let two = """
        {"name": "a", "id": "a", "parents": [], "children": ["b"]}, {"name": "b", "id": "b", "parents": ["a"], "children": []}
        """

    private func load(_ text: String, timeScale: Double = 1) throws -> WorkflowDefinition {
        try Fixture.withFile("two.json", text) {
            try WorkflowDefinition.load($0, format: .wfformat, timeScale: timeScale)
        }
    }

    @Test("Runtimes become sleeps, scaled")
    func runtimes() throws {
        let execution =
            #"{"id": "a", "runtimeInSeconds": 1}, {"id": "b", "runtimeInSeconds": 2.5, "command": {"program": "rm"}}"#
        let definition = try load(file(two, execution: execution), timeScale: 0.5)
        #expect(definition.name == "two")
        #expect(
            definition.steps == [
                .init(key: "a", handler: "sleep", expected: 0.5),
                .init(key: "b", handler: "sleep", needs: ["a"], expected: 1.25),
            ]
        )
        #expect(
            definition.json == """
                {"workflow":"two","steps":[{"key":"a","handler":"sleep","with":{"seconds":0.5},"expected":0.5},\
                {"key":"b","handler":"sleep","needs":["a"],"with":{"seconds":1.25},"expected":1.25}]}
                """
        )
    }

    @Test("Without runtimes, or at a time scale of 0, nothing waits")
    func noop() throws {
        #expect(try load(file(two)).steps.map(\.handler) == ["noop", "noop"])
        let scaled = try load(file(two, execution: #"{"id": "a", "runtimeInSeconds": 1}"#), timeScale: 0)
        #expect(scaled.steps.allSatisfy { $0.handler == "noop" && $0.expected == nil })
    }

    @Test("Parents and children are united")
    func union() throws {
        let tasks = """
            {"id": "c", "parents": ["b"]}, {"id": "a", "children": ["b", "c"]}, {"id": "b", "parents": ["a", "a"], "children": ["c"]}
            """
        let definition = try load(file(tasks))
        #expect(definition.steps.map(\.needs) == [["a", "b"], [], ["a"]])
    }

    @Test(
        "Names become valid",
        arguments: [("1000 genomes/ü", "_1000_genomes___"), ("", "two"), ("llvm-16-all", "llvm-16-all")]
    )
    func names(name: String, expected: String) throws {
        #expect(try load(file(two, name: name)).name == expected)
    }

    @Test(
        "What makes no sense is refused by name",
        arguments: [
            (#"{"id": "a"}, {"id": "a"}"#, "task \"a\": Two tasks have this id"),
            (#"{"id": "a", "parents": ["x"]}"#, "has a parent \"x\" that does not exist"),
            (#"{"id": "a", "children": ["x"]}"#, "has a child \"x\" that does not exist"),
            (#"{"id": "a", "parents": ["a"]}"#, "is its own parent"),
            (#"{"id": 5}"#, "no valid WfFormat 1.5"),
            ("", "has no tasks"),
        ]
    )
    func refused(tasks: String, message: String) throws {
        let error = #expect(throws: MillraceError.self) { try load(file(tasks)) }
        #expect(try #require(error).description.contains(message))
    }

    @Test("Commands are read only when they are asked for")
    func commands() throws {
        let execution = #"""
            {"id": "a", "runtimeInSeconds": 1, "command": {"program": "cat", "arguments": ["x y"]}},
            {"id": "b", "command": {"program": "set -e\nls", "arguments": []}}
            """#
        #expect(try !load(file(two, execution: execution)).json.contains("cat"))
        let shell = try Imports.read(file(two, execution: execution), .wfformat) { $0.handler = .shell }
        #expect(try shell.steps["a"]?["with"] == .object(["command": .array([.string("cat"), .string("x y")])]))
        #expect(try shell.steps["b"]?["with"] == .object(["command": .string("set -e\nls")]))
        let none = try Imports.refusal(file(two), .wfformat) { $0.handler = .shell }
        #expect(none.description.contains("task \"a\": It has no command") && none.description.contains("task \"b\""))
    }

    @Test("All that is wrong is said at once")
    func all() throws {
        let error = try Imports.refusal(file(#"{"id": "a", "parents": ["x", "y"]}, {"id": "a"}"#), .wfformat)
        #expect(error.detail?.split(separator: "\n").count == 3)
    }

    @Test("A version that is not read is named")
    func versions() throws {
        let error = #expect(throws: MillraceError.self) { try load(file(two, version: "2.0")) }
        #expect(try #require(error).message.contains("WfFormat 2.0 is not supported"))
        let old = #expect(throws: MillraceError.self) {
            try load(#"{"name": "x", "schemaVersion": "1.1", "workflow": {"jobs": []}}"#)
        }
        #expect(try #require(old).code == .unsupported)
        let none = #expect(throws: MillraceError.self) { try load(#"{"workflow": "x"}"#) }
        #expect(try #require(none).message.contains("no \"schemaVersion\""))
    }

    @Test(
        "Before 1.5 each task carries everything",
        arguments: [("1.2", "jobs", "runtime"), ("1.3", "tasks", "runtime"), ("1.4", "tasks", "runtimeInSeconds")]
    )
    func flat(version: String, list: String, runtime: String) throws {
        let tasks = """
            {"name": "a", "id": "ID1", "type": "compute", "parents": [], "children": ["b", "c"], "\(runtime)": 1.5, "cores": 2},
            {"name": "b", "id": "ID2", "type": "transfer", "parents": ["a"], "\(runtime)": 0},
            {"name": "c", "type": "auxiliary", "parents": ["ID2"], "files": [{"link": "input", "name": "x", "sizeInBytes": 1}]}
            """
        let definition = try load(
            #"{"name": "x", "schemaVersion": "\#(version)", "wms": {"name": "y"}, "workflow": {"makespan": 3, "\#(list)": [\#(tasks)]}}"#
        )
        #expect(
            definition.steps == [
                .init(key: "a", handler: "sleep", expected: 1.5),
                .init(key: "b", handler: "sleep", needs: ["a"], expected: 0),
                .init(key: "c", handler: "noop", needs: ["a", "b"]),
            ]
        )
    }

    @Test("Where names do not tell the tasks apart, ids do")
    func sameNames() throws {
        let tasks = """
            {"name": "a", "id": "1"}, {"name": "a", "id": "2", "parents": ["1"], "runtimeInSeconds": 2}
            """
        let definition = try load(#"{"schemaVersion": "1.4", "workflow": {"tasks": [\#(tasks)]}}"#)
        #expect(definition.steps.map(\.key) == ["1", "2"])
        #expect(definition.steps[1].needs == ["1"])
        #expect(definition.steps[1].expected == 2)
        let nameless = #expect(throws: MillraceError.self) {
            try load(#"{"schemaVersion": "1.4", "workflow": {"tasks": [{"name": "a"}, {"name": "a"}]}}"#)
        }
        #expect(try #require(nameless).description.contains("task 1: It has no id"))
    }

    @Test(
        "Either layout stands under any version, and the version may be a number",
        arguments: ["\"1.3\"", "\"1.4\"", "\"1.5\"", "1.4", "1.5"],
        [true, false]
    )
    func layouts(version: String, isNested: Bool) throws {
        let tasks = """
            {"name": "a", "id": "a", "children": ["b"], "files": [{"link": "output", "name": "f", "sizeInBytes": 12}], "runtimeInSeconds": 2},
            {"name": "b", "id": "b", "parents": null, "inputFiles": ["f"], "runtime": 3, "runtimeInSeconds": null}
            """
        let execution =
            #"{"id": "a", "runtimeInSeconds": 2}, {"id": "b", "runtimeInSeconds": 3}, {"id": "c", "coreCount": 1}"#
        let workflow =
            isNested
            ? #"{"specification": {"tasks": [\#(tasks)], "files": [{"id": "f", "sizeInBytes": 12}]}, "execution": {"tasks": [\#(execution)]}}"#
            : #"{"machines": [], "makespanInSeconds": 5, "tasks": [\#(tasks)]}"#
        let definition = try load(#"{"name": "x", "schemaVersion": \#(version), "workflow": \#(workflow)}"#)
        #expect(
            definition.steps == [
                .init(key: "a", handler: "sleep", expected: 2),
                .init(key: "b", handler: "sleep", needs: ["a"], expected: 3),
            ]
        )
    }

    @Test("Tasks may call one another by names where ids are the keys, and need no ids")
    func mixedNames() throws {
        let byName = #"{"name": "one", "id": "1"}, {"name": "two", "id": "2", "parents": ["one"]}"#
        #expect(
            try load(file(byName)).steps == [
                .init(key: "1", handler: "noop"), .init(key: "2", handler: "noop", needs: ["1"]),
            ]
        )
        let nameless = #"{"name": "one", "children": ["two"]}, {"name": "two"}"#
        #expect(try load(file(nameless)).steps.map(\.needs) == [[], ["one"]])
        // A name that two tasks have calls neither.
        let same = #"{"name": "x", "id": "1"}, {"name": "x", "id": "2"}, {"name": "y", "id": "3", "parents": ["x"]}"#
        let error = #expect(throws: MillraceError.self) { try load(file(same)) }
        #expect(try #require(error).description.contains("has a parent \"x\" that does not exist"))
    }

    @Test("Odd names become keys, and tell tasks apart as before")
    func oddNames() async throws {
        let long = String(repeating: "é", count: 300)
        let names = ["", "a\tb", "a b", "say \"x\"", "日本/1.0", long, long + "2", "$.run", "{{x}}", "' OR 1=1 --"]
        let tasks = names.enumerated().map { number, name in
            let parents = number == 0 ? "" : #", "parents": [\#(JSONValue.string(names[number - 1]).json)]"#
            return #"{"name": "n", "id": \#(JSONValue.string(name).json)\#(parents), "runtimeInSeconds": 1}"#
        }
        let imported = try Imports.read(file(tasks.joined(separator: ",")), .wfformat)
        let keys = imported.definition.steps.map(\.key)
        #expect(Set(keys).count == names.count && keys.allSatisfy { (1...200).contains($0.utf8.count) })
        #expect(imported.definition.steps.map(\.needs) == [[]] + keys.dropLast().map { [$0] })
        try await ImportServer.with { server in
            let problems = try await server.client.validate(imported.definition)
            #expect(problems.isEmpty)
        }
    }

    @Test(
        "Odd values are refused with one error",
        arguments: [
            #"{"id": "a", "parents": "b"}"#, #"{"id": "a", "parents": [1]}"#, #"{"id": null, "name": null}"#, "5",
            "null",
            #"{"id": ["a"]}"#,
        ]
    )
    func oddValues(task: String) {
        #expect(throws: MillraceError.self) { try load(file(task)) }
    }

    @Test("A workflow without tasks is none")
    func empty() throws {
        let error = #expect(throws: MillraceError.self) { try load(#"{"schemaVersion": "1.4", "workflow": {}}"#) }
        #expect(try #require(error).message.contains("its workflow has no tasks"))
    }

    @Test("Runtimes and scales below zero are refused")
    func negative() throws {
        #expect(throws: MillraceError.self) { try load(file(two, execution: #"{"id": "a", "runtimeInSeconds": -1}"#)) }
        #expect(throws: MillraceError.self) { try load(file(two), timeScale: -1) }
    }

    @Test(
        "Recorded workflows have the published figures",
        .enabled(if: !Fixture.recorded.isEmpty),
        arguments: Fixture.recorded
    )
    func recorded(path: String) throws {
        let definition = try WorkflowDefinition.load(path, format: .wfformat)
        let graph = try StepGraph(definition)
        let figures = try Self.figures(of: path)
        #expect(graph.steps.count == figures.tasks)
        #expect(graph.edgeCount == figures.edges)
        #expect(graph.rows.count == figures.depth)
    }

    private static func figures(of path: String) throws -> Fixture.Figures {
        let file = URL(filePath: path)
        let figures = try Data(contentsOf: file.deletingLastPathComponent().appending(path: "figures.json"))
        let all = try JSONDecoder().decode([Fixture.Figures].self, from: figures)
        return try #require(all.first { $0.file == file.lastPathComponent })
    }
}
