import Millrace
import Testing

@Suite("Graphs")
struct GraphTests {
    private static let diamond = [
        WorkflowDefinition.Step(key: "top", handler: "noop", expected: 1),
        .init(key: "left \"q\"", handler: "noop", needs: ["top"], expected: 5),
        .init(key: "right", handler: "sql", needs: ["top"], expected: 2),
        .init(key: "end", handler: "noop", needs: ["left \"q\"", "right", "top"], expected: 1),
    ]

    private func diamond() throws -> StepGraph {
        try StepGraph(name: "diamond", steps: Self.diamond)
    }

    @Test("Levels, edges and ranks")
    func shape() throws {
        let graph = try diamond()
        #expect(graph.levels == [0, 1, 1, 2])
        #expect(graph.rows == [[0], [1, 2], [3]])
        #expect(graph.edgeCount == 5)
        #expect(graph.ranks([1, 5, 2, 1]) == [7, 6, 3, 1])
    }

    @Test("A circle is named step by step")
    func circle() throws {
        let steps = [
            WorkflowDefinition.Step(key: "behind", needs: ["c"]), .init(key: "a", needs: ["c"]),
            .init(key: "b", needs: ["a"]), .init(key: "c", needs: ["b"]),
        ]
        let error = #expect(throws: MillraceError.self) { try StepGraph(name: "x", steps: steps) }
        #expect(
            try #require(error).message.contains("a → b → c → a")
                || (try #require(error)).message.contains("c → a → b → c")
                || (try #require(error)).message.contains("b → c → a → b")
        )
    }

    @Test("Unknown needs and keys that stand twice are named")
    func unknown() throws {
        #expect(throws: MillraceError.self) { try StepGraph(name: "x", steps: [.init(key: "a", needs: ["b"])]) }
        #expect(throws: MillraceError.self) { try StepGraph(name: "x", steps: [.init(key: "a"), .init(key: "a")]) }
    }

    @Test("As text")
    func text() throws {
        #expect(
            GraphText().render(try diamond()) == """
                diamond  4 steps, 5 edges, 3 levels, at most 2 side by side
                1  top  noop
                2  left "q"  noop    needs top
                   right     sql     needs top
                3  end  noop    needs top, left "q", right
                """
        )
        #expect(GraphText(stepsPerLevel: 1).render(try diamond()).contains("… and 1 more"))
        let empty = try StepGraph(name: "empty", steps: [])
        #expect(GraphText().render(empty) == "empty  0 steps, 0 edges, 0 levels, at most 0 side by side")
    }

    @Test("As DOT")
    func dot() throws {
        let dot = GraphDOT().render(try diamond()) { $0 == 0 ? StepMark("completed") : nil }
        #expect(dot.contains(##""top" [tooltip="noop", fillcolor="#cdeccd"];"##))
        #expect(dot.contains(#""top" -> "left \"q\"";"#))
        #expect(dot.split(separator: "\n").filter { $0.contains("->") }.count == 5)
    }

    /// A definition with all that a picture marks.
    private func rich() throws -> StepGraph {
        let workflow = Workflow("rich") {
            Step("a").noop().onError("sorry").compensate { $0.handler("undo") }
            Step("b").needs("a").noop().when("$.run.x == 1", .sql("select true")).rule(.allCompleted)
            Step("c").needs("b").noop().forEach("$.needs.b.list", parallel: 10, failures: .collect)
            Step("d").workflow("child").rule("b.completed || c.skipped").needs("b", "c")
            Step("e").wait(for: .signal("paid")).batch(max: 5)
            Step("sorry").noop()
        }
        .finally { Step("end").noop() }
        return try StepGraph(workflow.definition)
    }

    @Test("What steps say is told in text")
    func traits() throws {
        let graph = try rich()
        #expect(graph.levels == [0, 1, 2, 3, 0, 1, 4])
        #expect(
            GraphText().render(graph) { $0 == 2 ? StepMark("running", note: "3 of 10") : nil } == """
                rich  7 steps, 5 edges, 5 levels, at most 2 side by side
                1  a  noop    [on error sorry]  [undone by undo]
                   e  [waits for signal paid]  [in batches of 5]
                2  b      noop    needs a  [when $.run.x == 1 and sql: select true]
                   sorry  noop    needs a
                3  c  running    noop    needs b  [for each $.needs.b.list, 10 at once, collecting failures]  [3 of 10]
                4  d  needs b, c  [rule b.completed || c.skipped]  [runs child]
                5  end  noop    [finally]
                """
        )
    }

    @Test("What steps say is drawn in DOT")
    func traitsInDOT() throws {
        let dot = GraphDOT().render(try rich()) { $0 == 2 ? StepMark("running", note: "3 of 10") : nil }
        #expect(dot.contains(##""a" -> "sorry" [color=red, style=dashed, label="on error"];"##))
        #expect(dot.contains(##"shape=box3d, fillcolor="#cfe5ff"];"##))
        #expect(dot.contains(#"collecting failures\n3 of 10"#))
        #expect(dot.contains("shape=folder") && dot.contains("shape=hexagon"))
        #expect(dot.contains(#"style="rounded,filled,dashed""#))
        #expect(dot.contains("subgraph cluster_finally"))
    }

    @Test("A list schedule takes the longest way first")
    func schedule() throws {
        let graph = try diamond()
        let alone = ListSchedule(graph, durations: [1, 5, 2, 1], workers: 1)
        #expect(alone.makespan == 9)
        #expect(alone.lowerBound == 9)
        let pair = ListSchedule(graph, durations: [1, 5, 2, 1], workers: 2)
        #expect(pair.makespan == 7)
        #expect(pair.criticalPath == 7)
        #expect(pair.lowerBound == 7)
    }

    @Test("A list schedule in the order of coming")
    func firstCome() throws {
        // The long one is ready last but one; it should have been first.
        let graph = try StepGraph(
            name: "fan",
            steps: [.init(key: "a"), .init(key: "b"), .init(key: "long"), .init(key: "after", needs: ["long"])]
        )
        let durations = [2.0, 2, 3, 3]
        #expect(ListSchedule(graph, durations: durations, workers: 2, order: .firstCome).makespan == 8)
        #expect(ListSchedule(graph, durations: durations, workers: 2).makespan == 6)
        // Ties go by number.
        let late = ListSchedule(graph, durations: durations, workers: 2, order: .firstCome, numbers: [2, 3, 1, 4])
        #expect(late.makespan == 6)
    }
}
