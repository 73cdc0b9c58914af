import Millrace
import Testing

@Suite("Graphs in DOT, and ninja's")
struct DOTTests {
    @Test("The whole grammar")
    func grammar() throws {
        let graph = try Imports.load("pipeline.dot", .dot)
        #expect(graph.definition.name == "data_pipeline")
        #expect(
            graph.needs == [
                "fetch": [], "unpack": ["fetch"], "left": ["unpack"], "right side": ["unpack"],
                "merge": ["left", "right side"], "archive": ["merge"], "42": ["merge"], "-1.5": ["42"], "html": ["42"],
            ]
        )
        #expect(try graph.steps["fetch"]?["description"] == .string("Fetch all"))
        #expect(graph.definition.steps[0] == .init(key: "fetch", handler: "sleep", expected: 2))
        #expect(graph.leftBehind.map(\.subject) == ["edge merge -> archive"])
    }

    @Test(
        "Texts",
        arguments: [
            (#"digraph { "a" + "b" -> "c\"d" }"#, ["ab": [], "c\"d": ["ab"]]),
            (
                "digraph { a -> { b; c -> d } -> e }",
                ["a": [], "b": ["a"], "c": ["a"], "d": ["a", "c"], "e": ["b", "c", "d"]]
            ),
            ("digraph{a->b->c;c}", ["a": [], "b": ["a"], "c": ["b"]]),
            (
                "DIGRAPH x { subgraph s { a } subgraph s { b } a:n -> b:s:e; edge [color=red] c }",
                ["a": [], "b": ["a"], "c": []]
            ),
            ("digraph { node; \"node\" -> \"edge\" }", ["node": [], "edge": ["node"]]),
            ("digraph { ä -> \"日本\"; x = y }", ["ä": [], "日本": ["ä"]]),
        ] as [(String, [String: [String]])]
    )
    func texts(text: String, needs: [String: [String]]) throws {
        let read = try? Imports.read(text, .dot)
        #expect(read?.needs == needs)
    }

    @Test(
        "What is wrong has its place",
        arguments: [
            ("graph { a -- b }", "undirected"),
            ("digraph { a -- b }", "-- stands in a digraph"),
            ("digraph {\n a -> b", "line 2"),
            ("digraph {\n a -> ; }", "at line 2, column 7"),
            ("digraph { \"a }", "a quotation begins that does not end"),
            ("digraph { a /* b }", "a comment begins that does not end"),
            ("digraph { a } digraph { b }", "a file holds one graph"),
            ("digraph { }", "has no nodes"),
            ("a -> b", "begins with graph or digraph"),
            ("digraph { a [label=<b }", "a < stands that has no >"),
            ("digraph { a -> b [dir=both] }", "1:11: edge a -> b: Its arrow does not say which step comes first"),
            ("digraph { a [duration=long] }", "\"long\" is no number of seconds"),
            ("digraph { " + String(repeating: "{", count: 300), "nested too deeply"),
        ]
    )
    func wrong(text: String, message: String) throws {
        #expect(try Imports.refusal(text, .dot).description.contains(message))
    }

    @Test("ninja: a step a command, files in between")
    func ninja() throws {
        let build = try Imports.load("build.dot", .ninja)
        #expect(
            build.needs == [
                "all": ["app"], "app": ["main.o", "tables.o"], "main.o": ["directories", "tables.h"],
                "tables.o": ["tables.h"],
                "tables.h": [], "directories": [],
            ]
        )
        #expect(try build.steps["tables.h"]?["description"] == .string("generate"))
        #expect(build.definition.steps.allSatisfy { $0.handler == "noop" })
    }

    @Test("ninja: what is no such graph, and what it does not hold")
    func otherGraphs() throws {
        #expect(try Imports.refusal("digraph { a -> b }", .ninja).hint?.contains("--format dot") == true)
        let shell = #expect(throws: MillraceError.self) {
            try Imports.load("build.dot", .ninja) { $0.handler = .shell }
        }
        #expect(try #require(shell).description.contains("their commands are not in it"))
        let twice = """
            digraph ninja { "1" [label="a"] "2" [label="cc", shape=ellipse] "2" -> "1" "3" [label="ld", shape=ellipse] "3" -> "1" }
            """
        #expect(try Imports.refusal(twice, .ninja).description.contains("file a: Two commands make it"))
    }
}
