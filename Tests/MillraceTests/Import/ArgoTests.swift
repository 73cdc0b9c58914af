import Millrace
import Testing

@Suite("Argo Workflows")
struct ArgoTests {
    @Test("Every task runs that is named for it, and no other")
    func shouldExecute() async throws {
        let imported = try Imports.load("should-execute.yaml", .argo)
        #expect(imported.definition.name == "should-execute")
        try await ImportServer.with { server in
            let states = try await server.states(imported, failing: ["C"])
            for (key, state) in states where key.contains("execute") {
                #expect(state == (key.hasPrefix("should-execute") ? "completed" : "skipped"), "\(key) \(state)")
            }
            #expect(states["skipped"] == "skipped" && states["C"] == "failed")
            // The tasks, and what deals with failures that do not count.
            #expect(states.count == 15 && states["go-on"] == "completed")
        }
    }

    @Test("Nested templates, loops, arguments and policies")
    func etl() throws {
        let etl = try Imports.load("etl.yaml", .argo)
        #expect(etl.definition.name == "nightly-etl")
        #expect(etl.input == .object(["date": .string("2026-01-31"), "mode": .string("full")]))
        let parts = (0...2).map { "load.part(\($0))" }
        #expect(
            etl.needs == [
                "check": [], "extract(0)": ["check"], "extract(1)": ["check"],
                "load.stage": ["extract(0)", "extract(1)"],
                parts[0]: ["load.stage"], parts[1]: ["load.stage"], parts[2]: ["load.stage"],
                "load.index": ["check", "load.stage"],
                "load.swap": ["load.index"] + parts,
                "publish": ["check", "load.swap"],
                "alarm": (["extract(0)", "extract(1)", "load.index", "load.stage", "load.swap"] + parts).sorted(),
            ]
        )
        let steps = try etl.steps
        #expect(
            steps["extract(1)"]?["retry"]
                == .object(["limit": .integer(3), "backoff": .integer(10), "factor": .integer(2), "max": .integer(60)])
        )
        #expect(steps["extract(1)"]?["timeout"] == .string("1800s"))
        #expect(steps["extract(1)"]?["input"] == .object(["date": .string("$.run.date"), "table": .string("orders")]))
        #expect(
            steps["load.index"]?["when"]
                == .array([.string(#"$.run.mode == "full""#), .string(#"$.needs.check.result == "warehouse""#)])
        )
        #expect(steps["load.swap"]?["rule"] == .string("none_failed"))
        #expect(!etl.definition.json.contains("python") && !etl.definition.json.contains("print"))
    }

    @Test("A run does what Argo would do")
    func run() async throws {
        try await ImportServer.with { server in
            let etl = try Imports.load("etl.yaml", .argo)
            let full = JSONValue.object(["mode": .string("full")])
            let good = try await server.states(etl, input: full, outputs: ["check": #"{"result": "lake"}"#])
            #expect(good["load.index"] == "skipped" && good["load.swap"] == "completed")
            #expect(good["publish"] == "completed" && good["alarm"] == "skipped")
            // A skipped template is out of the way.
            let light = try await server.states(etl, input: .object(["mode": .string("light")]))
            #expect(light.filter { $0.key.hasPrefix("load") }.values.allSatisfy { $0 == "skipped" })
            #expect(light["publish"] == "completed" && light["alarm"] == "skipped")
            // A failure in it is its failure.
            let bad = try await server.states(etl, input: full, failing: ["load.part(1)"])
            #expect(bad["load.part(2)"] == "completed" && bad["load.swap"] == "skipped")
            #expect(bad["publish"] == "skipped" && bad["alarm"] == "completed")
        }
    }

    @Test("Templates of other documents, targets, and steps at the end")
    func exitHandler() async throws {
        let nightly = try Imports.load("exit-handler.yaml", .argo)
        #expect(nightly.definition.name == "nightly")
        #expect(
            nightly.needs == [
                "prepare": [], "clean-up.lock": ["prepare"], "clean-up.sweep": ["clean-up.lock"], "onExit.notify": [],
                "onExit.celebrate": [], "onExit.cry": [],
            ]
        )
        #expect(nightly.leftBehind.map(\.subject) == ["spec.schedule", "spec.concurrencyPolicy"])
        try await ImportServer.with { server in
            let good = try await server.states(nightly)
            #expect(good["onExit.celebrate"] == "completed" && good["onExit.cry"] == "skipped")
            let bad = try await server.states(nightly, failing: ["prepare"])
            #expect(bad["clean-up.sweep"] == "skipped" && bad["onExit.notify"] == "completed")
            #expect(bad["onExit.celebrate"] == "skipped" && bad["onExit.cry"] == "completed")
        }
    }

    private func workflow(tasks: String, templates: String = "", spec: String = "") -> String {
        """
        kind: Workflow
        metadata: { name: w }
        spec:
          entrypoint: main
          \(spec)
          templates:
            - name: main
              dag:
                tasks:
        \(tasks.split(separator: "\n").map { "          - " + $0 }.joined(separator: "\n"))
            - { name: t, container: { image: x, command: [run] } }
            - name: echo
              inputs: { parameters: [{ name: text, default: none }] }
              container: { image: x, command: [echo], args: ["{{inputs.parameters.text}}"] }
        \(templates.split(separator: "\n").map { "    " + $0 }.joined(separator: "\n"))
        """
    }

    @Test(
        "What depends on what",
        arguments: [
            ("{ name: b, template: t, dependencies: [a] }", nil, ["a"]),
            ("{ name: b, template: t, depends: a.Succeeded }", nil, ["a"]),
            ("{ name: b, template: t, depends: a.Failed || a.Errored }", "a.failed", ["a"]),
            ("{ name: b, template: t, depends: \"!a.Failed\" }", "!a.failed", ["a"]),
            (
                "{ name: b, template: t, depends: a.Skipped || a.Omitted || a.Succeeded }", "a.skipped || a.completed",
                ["a"]
            ),
            ("{ name: b, template: t, depends: l }", nil, ["l(0)", "l(1)"]),
            (
                "{ name: b, template: t, depends: l.AnySucceeded }", "\"l(0)\".completed || \"l(1)\".completed",
                ["l(0)", "l(1)"]
            ),
            ("{ name: b, template: t, depends: l.AllFailed }", "\"l(0)\".failed && \"l(1)\".failed", ["l(0)", "l(1)"]),
            ("{ name: b, template: t, depends: c }", "none_failed", ["c"]),
            ("{ name: b, template: t, depends: c.Succeeded }", nil, ["c"]),
            ("{ name: b, template: t, depends: e }", nil, ["a"]),
        ] as [(String, String?, [String])]
    )
    func depends(task: String, rule: String?, needs: [String]) throws {
        let tasks = """
            { name: a, template: t }
            { name: l, template: t, withItems: [1, 2] }
            { name: c, template: t, when: "{{workflow.parameters.go}} == yes" }
            { name: e, template: t, depends: a, withItems: [] }
            \(task)
            """
        let imported = try Imports.read(workflow(tasks: tasks), .argo)
        #expect(imported.needs["b"] == needs)
        #expect(try imported.steps["b"]?["rule"] == rule.map { .string($0) })
    }

    private static let conditionCases: [(String, String?)] = [
        ("{{workflow.parameters.x}} == go", #"$.run.x == "go""#),
        ("\"{{workflow.parameters.x}}\" != 'go on'", #"!($.run.x == "go on")"#),
        ("{{workflow.parameters.n}} > 3", "$.run.n.double() > 3"),
        ("3 == {{workflow.parameters.n}}", #"$.run.n == 3 || $.run.n == "3""#),
        (
            "{{tasks.a.outputs.parameters.p}}",
            #"$.needs.a.parameters.p == true || $.needs.a.parameters.p == "true""#
        ),
        ("{{tasks.a.outputs.result}} =~ 'ab+'", #"$.needs.a.result like_regex "ab+""#),
        ("{{tasks.a.outputs.result}} in ('x', 'y')", #"$.needs.a.result == "x" || $.needs.a.result == "y""#),
        ("1 == 1 && ({{workflow.parameters.x}} == a || false)", #"$.run.x == "a""#),
        ("heads == tails", "1 == 0"),
        ("'a b' == 'a b'", nil),
    ]

    @Test("Conditions", arguments: conditionCases)
    func conditions(text: String, when: String?) throws {
        let tasks = """
            { name: a, template: t }
            { name: b, template: t, depends: a, when: \(JSONValue.string(text).json) }
            """
        let imported = try Imports.read(workflow(tasks: tasks), .argo)
        #expect(try imported.steps["b"]?["when"] == when.map { .string($0) })
    }

    @Test("The server takes them")
    func validated() async throws {
        let tasks = Self.conditionCases.enumerated().map { number, condition in
            "{ name: c\(number), template: t, depends: a, when: \(JSONValue.string(condition.0).json) }"
        }
        let text = workflow(tasks: (["{ name: a, template: t }"] + tasks).joined(separator: "\n"))
        let imported = try Imports.read(text, .argo)
        try await ImportServer.with { server in
            let problems = try await server.client.validate(imported.definition)
            #expect(problems.isEmpty)
        }
    }

    @Test("Loops over what is written out")
    func loops() throws {
        let tasks = """
            { name: s, template: echo, arguments: { parameters: [{ name: text, value: "{{item}}" }] }, withSequence: { start: "8", end: "10", format: "part%03d" } }
            { name: p, template: echo, arguments: { parameters: [{ name: text, value: "{{item.a}}-{{item.b}}" }] }, withParam: '[{"a": 1, "b": "x"}]' }
            { name: d, template: echo, withSequence: { start: 3, end: 1 } }
            { name: w, template: echo, withItems: [go, stop], when: "{{item}} == go" }
            """
        let steps = try Imports.read(workflow(tasks: tasks), .argo).steps
        let texts = ["s(0)", "s(1)", "s(2)", "p(0)", "d(0)"].map { steps[$0]?["input"]?.json }
        #expect(
            texts == [
                #"{"text":"part008"}"#, #"{"text":"part009"}"#, #"{"text":"part010"}"#, #"{"text":"1-x"}"#,
                #"{"text":"none"}"#,
            ]
        )
        #expect(steps["d(2)"] != nil && steps["d(3)"] == nil)
        #expect(steps["w(0)"]?["when"] == nil && steps["w(1)"]?["when"] == .string("1 == 0"))
    }

    @Test("Loops over what is known when the run is under way are spread by the engine")
    func spread() async throws {
        let tasks = """
            { name: list, template: t }
            { name: each, template: echo, depends: list, withParam: "{{tasks.list.outputs.result}}", arguments: { parameters: [{ name: text, value: "{{item.name}}" }] } }
            { name: given, template: echo, withParam: "{{workflow.parameters.list}}", arguments: { parameters: [{ name: text, value: "{{item}}" }] } }
            { name: all, template: echo, depends: each && given, arguments: { parameters: [{ name: text, value: "{{tasks.each.outputs.result}}" }] } }
            """
        let imported = try Imports.read(workflow(tasks: tasks), .argo)
        let steps = try imported.steps
        #expect(steps["each"]?["for_each"] == .string("$.needs.list.result"))
        #expect(steps["each"]?["input"] == .object(["text": .string("$.element.name")]))
        #expect(steps["given"]?["for_each"] == .string("$.run.list"))
        #expect(steps["all"]?["input"] == .object(["text": .string("$.needs.each[*].result")]))
        #expect(imported.needs["all"] == ["each", "given"])
        try await ImportServer.with { server in
            let states = try await server.states(
                imported,
                input: .object(["list": .array([.integer(1), .integer(2)])]),
                outputs: ["list": #"{"result": [{"name": "a"}, {"name": "b"}]}"#]
            )
            #expect(states["all"] == "completed")
        }
    }

    @Test("Templates of several tasks that are spread, tried again, bounded or may fail are runs of their own")
    func subRuns() async throws {
        let imported = try Imports.load("map-reduce.yaml", .argo)
        #expect(
            imported.children.map(\.name).sorted()
                == ["map-reduce.checks", "map-reduce.part", "map-reduce.part#2"]
        )
        let steps = try imported.steps
        #expect(steps["map"]?["workflow"] == .string("map-reduce.part"))
        #expect(steps["map"]?["for_each"] == .string("$.needs.split.result"))
        #expect(
            steps["map"]?["input"]
                == .object([
                    "inputs": .object(["file": .string("$.element.file"), "kind": .string("map")]),
                    "workflow": .string("$.run"),
                ])
        )
        #expect(steps["reduce"]?["input"] == .object(["sums": .string("$.needs.map[*].parameters.sum")]))
        #expect(steps["check"]?["timeout"] == .string("600s"))
        #expect(steps["check"]?["retry"] == .object(["limit": .integer(2)]))
        #expect(steps["extra"]?["on_error"] == .string("go-on") && steps["probe"]?["on_error"] == .string("go-on"))
        #expect(try imported.definition.members["deadline"] == .string("7200s"))
        let part = try #require(imported.children.first { $0.name == "map-reduce.part" })
        #expect(try part.members["output"] == .object(["parameters": .object(["sum": .string("$.needs.sum.result")])]))
        #expect(try part.stepsByKey["index"]?["when"] == .string(#"$.run.inputs.file == "big""#))
        #expect(try part.stepsByKey["note"]?["when"] == .string(#"$.run.workflow.mode == "full""#))
        // What the file knows is decided at once.
        let extra = try #require(imported.children.first { $0.name == "map-reduce.part#2" })
        #expect(try extra.stepsByKey["index"]?["when"] == .string("1 == 0"))
        try await ImportServer.with { server in
            let input = JSONValue.object(["mode": .string("full"), "parts": .array([.integer(1), .integer(2)])])
            let outputs = ["split": #"{"result": [{"file": "big"}, {"file": "small"}]}"#, "sum": #"{"result": 7}"#]
            let good = try await server.run(imported, input: input, outputs: outputs)
            #expect(good.state == "completed" && good.steps["reduce"] == "completed")
            #expect(good.steps["fallback"] == "skipped" && good.steps["onExit"] == "completed")
            let bad = try await server.run(imported, input: input, failing: ["index"], outputs: outputs)
            #expect(bad.state == "failed" && bad.steps["map"] == "failed" && bad.steps["reduce"] == "skipped")
            let tolerated = try await server.run(imported, input: input, failing: ["probe"], outputs: outputs)
            #expect(tolerated.state == "completed" && tolerated.steps["fallback"] == "completed")
        }
    }

    @Test("A task that may fail does not fail the run, nor stops what depends on it")
    func continueOn() async throws {
        let tasks = """
            { name: a, template: t, continueOn: { failed: true } }
            { name: b, template: two, depends: a, continueOn: { failed: true } }
            { name: c, template: t, withParam: "{{workflow.parameters.list}}", continueOn: { failed: true } }
            { name: d, template: t, depends: b && c }
            """
        let two = "- { name: two, steps: [[{ name: x, template: t }], [{ name: y, template: t }]] }"
        let imported = try Imports.read(workflow(tasks: tasks, templates: two), .argo)
        #expect(try imported.steps["b"]?["workflow"] == .string("w.two"))
        #expect(
            try imported.steps["c"]?["for_each"]
                == .object(["in": .string("$.run.list"), "failures": .string("collect")])
        )
        try await ImportServer.with { server in
            let input = JSONValue.object(["list": .array([.integer(1), .integer(2)])])
            let ended = try await server.run(imported, input: input, failing: ["a", "x", "c"])
            #expect(ended.state == "completed" && ended.steps["d"] == "completed")
            #expect(ended.steps["a"] == "failed" && ended.steps["b"] == "failed" && ended.steps["c"] == "completed")
        }
    }

    @Test("Hooks for the end are the end; others are refused")
    func hooks() throws {
        let task = "{ name: a, template: t }"
        let imported = try Imports.read(workflow(tasks: task, spec: "hooks: { exit: { template: t } }"), .argo)
        #expect(imported.definition.steps.map(\.key) == ["a", "onExit"])
        let error = try Imports.refusal(
            workflow(tasks: task, spec: "hooks: { running: { expression: x, template: t } }"),
            .argo
        )
        #expect(error.description.contains("spec.hooks.running: What happens at other times than the end"))
    }

    @Test("Files that tasks hand on stay behind, and are refused where programs would look for them")
    func artifacts() throws {
        let templates =
            "- { name: make, outputs: { artifacts: [{ name: f, path: /f }] }, container: { image: x, command: [make] } }"
        let text = workflow(tasks: "{ name: a, template: make }", templates: templates)
        let imported = try Imports.read(text, .argo)
        #expect(imported.leftBehind.contains { $0.subject.hasSuffix("outputs.artifacts") })
        let error = try Imports.refusal(text, .argo) { $0.handler = .shell }
        #expect(error.description.contains("carries no files from step to step"))
    }

    @Test("Values that are put into texts become templates")
    func templates() async throws {
        let tasks = """
            { name: a, template: t }
            { name: b, template: outer, depends: a, arguments: { parameters: [{ name: text, value: "{{tasks.a.outputs.result}} of {{workflow.parameters.x}}" }] } }
            { name: c, template: echo, arguments: { parameters: [{ name: text, value: "$5 {{workflow.name}}" }] } }
            """
        let outer = """
            - { name: outer, inputs: { parameters: [{ name: text }] }, steps: [[{ name: s, template: echo, arguments: { parameters: [{ name: text, value: "<{{inputs.parameters.text}}>" }] } }]] }
            """
        let imported = try Imports.read(workflow(tasks: tasks, templates: outer), .argo)
        #expect(
            try imported.steps["b.s"]?["input"]
                == .object([
                    "text": .object([
                        "$template": .string("<{{value0}} of {{value1}}>"),
                        "data": .object(["value0": .string("$.needs.a.result"), "value1": .string("$.run.x")]),
                    ])
                ])
        )
        #expect(imported.needs["b.s"] == ["a"])
        #expect(
            imported.leftBehind.contains { $0.subject.hasSuffix("input text") && $0.message.contains("workflow.name") }
        )
        try await ImportServer.with { server in
            let problems = try await server.client.validate(imported.definition)
            #expect(problems.isEmpty)
        }
    }

    @Test("Suspended until somebody goes on, and what is remembered")
    func waiting() async throws {
        let tasks = """
            { name: approve, template: wait }
            { name: rest, template: nap }
            { name: ship, template: costly, depends: approve, arguments: { parameters: [{ name: x, value: "{{workflow.parameters.x}}" }] } }
            """
        let templates = """
            - { name: wait, suspend: {} }
            - { name: nap, suspend: { duration: 1m30s } }
            - { name: costly, inputs: { parameters: [{ name: x }] }, memoize: { key: "{{inputs.parameters.x}}", maxAge: 1h, cache: { configMap: { name: results } } }, container: { image: x } }
            """
        let imported = try Imports.read(workflow(tasks: tasks, templates: templates), .argo)
        #expect(try imported.steps["approve"]?["wait_for"] == .object(["signal": .string("approve")]))
        #expect(try imported.steps["approve"]?["handler"] == nil)
        #expect(try imported.steps["rest"]?["wait_for"] == .object(["duration": .integer(90)]))
        #expect(
            try imported.steps["ship"]?["cache"]
                == .object([
                    "key": .object(["cache": .string("results"), "key": .string("$.run.x")]), "ttl": .integer(3600),
                ])
        )
        try await ImportServer.with { server in
            let problems = try await server.client.validate(imported.definition)
            #expect(problems.isEmpty)
        }
    }

    @Test("Asked for, commands become scripts whose result is JSON")
    func shell() throws {
        let text = """
            kind: Workflow
            metadata: { generateName: s- }
            spec:
              entrypoint: flip
              templates:
                - name: flip
                  script: { image: x, command: [sh], source: "echo 'heads \\"or\\" tails'" }
            """
        let imported = try Imports.read(text, .argo) { $0.handler = .shell }
        guard case .object(let with)? = try imported.steps["flip"]?["with"], case .string(let script)? = with["command"]
        else {
            Issue.record("There is no script: \(imported.definition.json)")
            return
        }
        #expect(try JSONValue(json: Scripts.output(of: script)) == .object(["result": .string("heads \"or\" tails")]))
    }

    @Test(
        "What cannot be carried over is refused by name",
        arguments: [
            ("{ name: a, template: t, hooks: {} }", "", "spec.templates[0].dag.tasks[0].hooks: Hooks"),
            ("{ name: a, template: t, onExit: t }", "", "onExit: Hooks"),
            (
                "{ name: a, template: d, withParam: \"{{workflow.parameters.list}}\" }", "- { name: d, suspend: {} }",
                "can neither wait"
            ),
            (
                "{ name: a, template: t, withSequence: { count: \"{{workflow.parameters.n}}\" } }", "",
                "withSequence.count"
            ),
            ("{ name: a, templateRef: { name: other, template: t } }", "", "is not in the file"),
            ("{ name: a, template: t, when: \"{{=1 < 2}}\" }", "", "is an expression"),
            (
                "{ name: a, template: t, when: \"{{workflow.status}} == Failed\" }", "",
                "nothing is known of {{workflow.status}}"
            ),
            ("{ name: a, template: main }", "", "calls itself"),
            ("{ name: a, template: d }", "- { name: d, daemon: true, container: { image: x } }", "Steps that go on"),
            (
                "{ name: a, template: d }", "- { name: d, container: { image: x }, memoize: { key: k } }",
                "keep what it has for ever"
            ),
            (
                "{ name: a, template: d }",
                "- { name: d, container: { image: x }, retryStrategy: { limit: 2, backoff: { duration: 1s, maxDuration: 1m } } }",
                "backoff.maxDuration"
            ),
            (
                "{ name: a, template: d }",
                "- { name: d, retryStrategy: { expression: \"true\" }, steps: [[{ name: x, template: t }]] }",
                "retryStrategy.expression"
            ),
            ("{ name: a, template: t, continueOn: { error: true } }", "", "continueOn: A step fails, or not"),
            ("{ name: a, template: d }", "- { name: d, failFast: true, container: { image: x } }", "failFast"),
            (
                "{ name: a, template: d }",
                "- { name: d, synchronization: { mutex: { name: m } }, container: { image: x } }",
                "synchronization: Locks"
            ),
            (
                "{ name: a, template: d }", "- { name: d, parallelism: 2, steps: [[{ name: x, template: t }]] }",
                "parallelism"
            ),
        ]
    )
    func refused(task: String, templates: String, message: String) throws {
        let error = try Imports.refusal(workflow(tasks: task, templates: templates), .argo)
        #expect(error.description.contains(message))
        #expect(error.code == .unsupported && error.hint?.contains("--leave-out") == true)
    }

    @Test(
        "What is wrong is named",
        arguments: [
            (
                "{ name: a, template: t, depends: b }\n{ name: b, template: t, depends: a }", "",
                "in a ring: a -> b -> a"
            ),
            ("{ name: a, template: t, depends: z }", "", "depends on \"z\", which is no task"),
            ("{ name: a, template: t }\n{ name: a, template: t }", "", "Two tasks are called \"a\""),
            ("{ name: a, template: z }", "", "There is no template \"z\""),
            ("{ name: a, template: t, depends: \"a &&\" }", "", "it ends too early"),
            ("{ name: a, template: t }\n{ name: b, template: t, depends: a.Finished }", "", "no result \"Finished\""),
            ("{ name: a, template: t, needs: [b] }", "", "Tasks have no such key"),
            ("{ name: a, template: t }", "parallel: 4", "Workflows have no such key"),
            ("{ name: a, template: n }", "", "There is no template"),
            (
                "{ name: a, inline: { container: { image: x }, retries: 3 } }", "",
                "inline.retries: Templates have no such key"
            ),
            ("{ name: a, inline: { dag: {} } }", "", "It has no list of tasks"),
        ]
    )
    func wrong(task: String, spec: String, message: String) throws {
        let error = try Imports.refusal(workflow(tasks: task, spec: spec), .argo)
        #expect(error.description.contains(message))
        #expect(error.code == .malformed)
    }

    @Test("Parts of the workflow that would change a run are refused; what is about pods is left")
    func spec() throws {
        let error = try Imports.refusal(
            workflow(
                tasks: "{ name: a, template: t }",
                spec: "parallelism: 2\n  serviceAccountName: x\n  suspend: true"
            ),
            .argo
        )
        #expect(error.detail?.split(separator: "\n").count == 2)
        #expect(error.hint?.contains("--leave-out parallelism --leave-out suspend") == true)
    }
}
