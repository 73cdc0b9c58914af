import Foundation
import Millrace
import Testing

@Suite("Definitions")
struct DefinitionTests {
    private let order = """
        workflow: order
        defaults: { handler: http, queue: web }
        steps:
          - key: validate
            handler: sql
            with: { statement: "select 1" }
          - key: charge
            needs: [validate]
            expected: 1.5m
            retry: { limit: 5, backoff: 1s }
        """

    private func load(_ name: String, _ text: String) throws -> WorkflowDefinition {
        try Fixture.withFile(name, text) { try WorkflowDefinition.load($0) }
    }

    private func error(_ name: String, _ text: String) -> MillraceError? {
        #expect(throws: MillraceError.self) { try load(name, text) }
    }

    @Test("YAML becomes JSON and an outline")
    func yaml() throws {
        let definition = try load("order.yaml", order)
        #expect(definition.name == "order")
        #expect(
            definition.steps == [
                .init(key: "validate", handler: "sql", queue: "web"),
                .init(key: "charge", handler: "http", queue: "web", needs: ["validate"], expected: 90),
            ]
        )
        #expect(
            try JSONValue(json: definition.json)
                == .object([
                    "workflow": .string("order"),
                    "defaults": .object(["handler": .string("http"), "queue": .string("web")]),
                    "steps": .array([
                        .object([
                            "key": .string("validate"), "handler": .string("sql"),
                            "with": .object(["statement": .string("select 1")]),
                        ]),
                        .object([
                            "key": .string("charge"), "needs": .array([.string("validate")]),
                            "expected": .string("1.5m"),
                            "retry": .object(["limit": .integer(5), "backoff": .string("1s")]),
                        ]),
                    ]),
                ])
        )
    }

    @Test(
        "Plain words stay words",
        arguments: ["on", "no", "yes", "12:30", "2024-01-01", "0x1f", "007", "1_000", ".inf", "1s"]
    )
    func words(word: String) throws {
        let definition = try load("x.yaml", "workflow: \(word)\nsteps: []")
        #expect(definition.name == word)
    }

    @Test("Numbers, truth values and null are JSON's")
    func scalars() throws {
        let definition = try load("x.yml", "a: [1, -2.5, 1e3, true, false, null, ~, '1', \"true\", !!str 7]")
        #expect(definition.json == #"{"a":[1,-2.5,1e3,true,false,null,null,"1","true","7"]}"#)
    }

    @Test("JSON is sent as it stands")
    func json() throws {
        let text = #" {"workflow": "x", "steps": [{"key": "a", "with": {"n": 12345678901234567890.123}}]} "#
        #expect(try load("x.json", text).json == text)
        #expect(try load("no-extension", text).name == "x")
    }

    @Test("What the outline does not understand is left to the server")
    func lenient() throws {
        let definition = try load("x.json", #"{"workflow": 5, "steps": [{"key": "a", "needs": "b"}, 7]}"#)
        #expect(definition.name == "")
        #expect(definition.steps.map(\.key) == ["a", ""])
    }

    @Test("An error names the file, the line and the column")
    func places() throws {
        let yaml = try #require(error("bad.yaml", "workflow: x\nsteps: [a\nb: c"))
        #expect(yaml.message.contains("bad.yaml: This is no YAML"))
        #expect(yaml.message.contains("line 3"))
        let duplicate = try #require(error("twice.yaml", "workflow: x\nworkflow: y\n"))
        #expect(duplicate.message.contains("\"workflow\" stands twice"))
        let json = try #require(error("bad.json", "{\n \"workflow\": x}"))
        #expect(json.description.contains("bad.json"))
        #expect(json.description.contains("line 2"))
    }

    @Test("Files that hold nothing to read")
    func unreadable() throws {
        #expect(throws: MillraceError.self) { try WorkflowDefinition.load("/nowhere/at.all") }
        #expect(throws: MillraceError.self) { try WorkflowDefinition.load("/tmp") }
        #expect(try #require(error("empty.yaml", "")).message.contains("empty"))
        let binary = #expect(throws: MillraceError.self) {
            try Fixture.withFile("x.yaml", Data([0xff, 0xfe, 0x00])) { try WorkflowDefinition.load($0) }
        }
        #expect(try #require(binary).message.contains("UTF-8"))
        let cut = #expect(throws: MillraceError.self) {
            try Fixture.withFile("x.json.gz", Data([0x1f, 0x8b, 8, 0, 0, 0, 0, 0])) { try WorkflowDefinition.load($0) }
        }
        #expect(try #require(cut).message.contains("cut off"))
    }

    @Test("Aliases cannot blow a document up")
    func aliases() throws {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let alias = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(alias)]\n"
        }
        #expect(try #require(error("bomb.yaml", text)).message.contains("expands"))
    }

    @Test("A recorded workflow is not taken for a definition")
    func recorded() throws {
        let text = #"{"name": "x", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": []}}}"#
        #expect(try #require(error("x.json", text)).hint?.contains("wfformat") == true)
    }

    @Test(
        "Parts of a definition have their places in the file",
        arguments: [
            ("workflow", "1:1"), ("defaults.queue", "2:28"), ("steps[0]", "4:5"), ("steps[0].with.statement", "6:13"),
            ("steps[1].needs[0]", "8:13"), ("steps[1].retry.limit", "10:14"),
            // What is missing should stand in what would hold it.
            ("steps[1].handler", "7:5"), ("steps[1].retry.max", "10:5"), ("steps[7]", "3:1"), ("", "1:1"),
        ]
    )
    func places(path: String, place: String) throws {
        let places = try Fixture.withFile("order.yaml", order) { try DefinitionPlaces(file: $0) }
        #expect(places.place(of: path).map { "\($0.line):\($0.column)" } == place)
    }

    @Test("JSON has places too, and keys that look like paths")
    func placesInJSON() throws {
        let text = """
            {"workflow": "w", "steps": [
              {"key": "a", "input": {"b": 1,
                "b.c[0]": 2}}]}
            """
        let places = try Fixture.withFile("w.json", text) { try DefinitionPlaces(file: $0) }
        #expect(places.place(of: "steps[0].input.b")?.line == 2)
        #expect(places.place(of: "steps[0].input.b.c[0]")?.line == 3)
    }
}
