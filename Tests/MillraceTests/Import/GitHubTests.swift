import Foundation
import Millrace
import MillraceTestSupport
import Testing

@Suite("GitHub Actions")
struct GitHubTests {
    private static let tests = [
        "test (macos-latest, stable)", "test (ubuntu-latest, beta, true)", "test (ubuntu-latest, stable, true)",
        "test (windows-latest, stable)",
    ]

    @Test("Jobs, needs and matrices become the graph")
    func graph() throws {
        let release = try Imports.load("release.yml", .github)
        #expect(release.definition.name == "release")
        var expected = ["changes": [], "lint": ["changes"], "docs": ["lint"]]
        for test in Self.tests { expected[test] = ["changes"] }
        expected["package"] = ["docs", "lint"] + Self.tests
        expected["report"] = ["lint", "package"] + Self.tests
        // What asks whether anything above has failed needs all of it.
        expected["alarm"] = ["changes", "lint", "package"] + Self.tests
        expected["cleanup"] = ["package"] + Self.tests
        // The failure of docs does not count.
        expected["go-on"] = []
        #expect(release.needs == expected.mapValues { $0.sorted() })
        #expect(release.definition.steps.allSatisfy { $0.handler == "noop" })
        #expect(!release.definition.json.contains("cargo"))
    }

    @Test("Conditions, rules, times and values of jobs")
    func parts() throws {
        let steps = try Imports.load("release.yml", .github).steps
        #expect(steps["lint"]?["when"] == .string(#"$.needs.changes.code == "true""#))
        #expect(steps["lint"]?["timeout"] == .string("10m"))
        #expect(steps["lint"]?["description"] == .string("Lint"))
        #expect(
            steps["package"]?["when"]
                == .string(#"$.run.github.ref starts with "refs/tags/v" || $.run.inputs.publish == true"#)
        )
        #expect(steps["cleanup"]?["rule"] == .string("all_done"))
        let beta = steps["test (ubuntu-latest, beta, true)"]
        #expect(beta?["description"] == .string("Test beta on ubuntu-latest"))
        #expect(
            beta?["input"]
                == .object([
                    "matrix": .object([
                        "os": .string("ubuntu-latest"), "toolchain": .string("beta"), "coverage": .bool(true),
                    ])
                ])
        )
        #expect(
            steps["lint"]?["input"]
                == .object(["needs": .object(["changes": .object(["code": .string("$.needs.changes.code")])])])
        )
    }

    @Test("Entries of include join the combinations that they do not contradict")
    func include() throws {
        let fruit = try Imports.load("fruit.yml", .github)
        let values = try fruit.steps.values.map { step -> String in
            guard case .object(let input)? = step["input"] else { return "" }
            return input["matrix"]?.json ?? ""
        }
        #expect(
            Set(values) == [
                #"{"animal":"cat","color":"pink","fruit":"apple","shape":"circle"}"#,
                #"{"animal":"dog","color":"green","fruit":"apple","shape":"circle"}"#,
                #"{"animal":"cat","color":"pink","fruit":"pear"}"#,
                #"{"animal":"dog","color":"green","fruit":"pear"}"#,
                #"{"fruit":"banana"}"#,
                #"{"animal":"cat","fruit":"banana"}"#,
            ]
        )
    }

    @Test("A matrix that a graph cannot say is spread by the engine")
    func spread() async throws {
        let text = """
            jobs:
              list:
                runs-on: x
                steps: []
              each:
                needs: list
                runs-on: x
                strategy: { max-parallel: 2, matrix: { target: "${{ fromJSON(needs.list.outputs.targets) }}" } }
                steps: []
              both:
                needs: list
                runs-on: x
                strategy: { fail-fast: true, matrix: { os: [linux, $odd], n: [1] } }
                steps: []
              end:
                needs: [each, both]
                runs-on: x
                steps: []
            """
        let imported = try Imports.read(text, .github)
        let steps = try imported.steps
        #expect(
            steps["each"]?["for_each"] == .object(["in": .string("$.needs.list.targets"), "parallel": .integer(2)])
        )
        #expect(steps["each"]?["input"]?.json.contains(#""matrix":{"target":"$.element"}"#) == true)
        #expect(
            steps["both"]?["for_each"]
                == .array([
                    .object(["os": .string("linux"), "n": .integer(1)]),
                    .object(["os": .string("$$odd"), "n": .integer(1)]),
                ])
        )
        #expect(imported.needs["end"] == ["both", "each"])
        try await ImportServer.with { server in
            let states = try await server.states(imported, outputs: ["list": #"{"targets": ["a", "b", "c"]}"#])
            #expect(states["end"] == "completed")
        }
    }

    private func job(_ text: String, above: String = "a: { runs-on: x, steps: [] }") -> String {
        "on: push\njobs:\n  \(above)\n  b:\n    needs: a\n    runs-on: x\n    \(text)\n    steps: []\n"
    }

    @Test(
        "Conditions over how needs ended",
        arguments: [
            ("success()", nil), ("always()", "all_done"), ("${{ !cancelled() }}", "all_done"),
            ("failure()", "a.failed"), ("success() || failure()", "a.completed || a.failed"),
            ("always() && needs.a.result == 'skipped'", "a.skipped"),
            ("always() && needs.a.result != 'success'", "!a.completed"),
            (
                "always() && (contains(needs.*.result, 'failure') || contains(needs.*.result, 'cancelled'))",
                "a.failed || a.cancelled"
            ),
            ("!failure()", "!a.failed"),
        ] as [(String, String?)]
    )
    func rules(text: String, rule: String?) throws {
        let step = try Imports.read(job("if: \"\(text)\""), .github).steps["b"]
        #expect(step?["rule"] == rule.map { .string($0) })
        #expect(step?["when"] == nil)
    }

    private static let conditionCases: [(String, String?)] = [
        ("github.event_name == 'push'", #"$.run.github.event_name == "push""#),
        ("'push' != github.event_name", #"!($.run.github.event_name == "push")"#),
        ("github.ref == ''", #"!(exists($.run.github.ref ? (@ != "" && @ != null)))"#),
        ("inputs.deploy", #"exists($.run.inputs.deploy ? (@ != "" && @ != false && @ != null && @ != 0))"#),
        ("github.event.pull_request.number > 5", "$.run.github.event.pull_request.number > 5"),
        ("5 > github.run_attempt", "$.run.github.run_attempt < 5"),
        ("needs.a.outputs.go-on == 'yes'", #"$.needs.a."go-on" == "yes""#),
        (
            "contains(github.event.pull_request.labels.*.name, 'bug')",
            #"exists($.run.github.event.pull_request.labels[*].name ? (@ == "bug"))"#
        ),
        ("contains(github.ref, 'release/')", #"$.run.github.ref like_regex "release/" flag "iq""#),
        ("endsWith(github.ref, '.x')", #"$.run.github.ref like_regex "\\.x$" flag "i""#),
        (#"contains(fromJSON('["a", "b"]'), vars.stage)"#, #"$.run.vars.stage == "a" || $.run.vars.stage == "b""#),
        ("(github.ref == 'a' || github.ref == 'b') && !inputs.dry", nil),
    ]

    @Test("Conditions over the run's input and outputs", arguments: conditionCases)
    func conditions(text: String, when: String?) throws {
        let yaml = job("if: \(JSONValue.string(text).json)")
        let imported = try Imports.read(yaml, .github)
        let step = try imported.steps["b"]
        #expect(step?["rule"] == nil)
        if let when {
            #expect(step?["when"] == .string(when))
        } else if case .array(let conditions)? = step?["when"] {
            #expect(conditions.count == 2)
        } else {
            Issue.record("There are no two conditions: \(imported.definition.json)")
        }
    }

    @Test("The server takes them")
    func validated() async throws {
        let jobs = Self.conditionCases.enumerated().map { number, condition in
            "  c\(number): { needs: a, runs-on: x, if: \(JSONValue.string(condition.0).json), steps: [] }"
        }
        let text = (["jobs:", "  a: { runs-on: x, steps: [] }"] + jobs).joined(separator: "\n")
        let imported = try Imports.read(text, .github)
        try await ImportServer.with { server in
            let problems = try await server.client.validate(imported.definition)
            #expect(problems.isEmpty)
        }
    }

    @Test("What cannot be carried over is refused, all of it, by name and place")
    func refused() throws {
        let error = #expect(throws: MillraceError.self) { try Imports.load("refused.yml", .github) }
        let text = try #require(error).description
        for part in [
            "2:1: concurrency:", "7:7: jobs.one.strategy.max-parallel:", "8:7: jobs.one.strategy.fail-fast:",
            "14:5: jobs.two.uses: It calls the workflow ./.github/workflows/deploy.yml, and there is no such file",
            "17:5: jobs.three.if: \"always() ||",
            "18:5: jobs.three.environment:", "23:5: jobs.four.if: \"hashFiles",
            "27:9: jobs.four.strategy.matrix.target:",
            "32:5: jobs.five.if: It never holds",
            "41:5: jobs.seven.uses: It calls the workflow o/r/.github/workflows/x.yml@v1, which is in another",
        ] {
            #expect(text.contains(part))
        }
        #expect(text.contains("--leave-out concurrency --leave-out fail-fast --leave-out max-parallel"))
        #expect(error?.code == .unsupported)

        let rest = try Imports.load("refused.yml", .github) { options in
            options.leaveOut = ["concurrency", "max-parallel", "fail-fast", "uses", "environment", "matrix", "if"]
        }
        #expect(rest.needs["two"] == ["one"])
        #expect(
            try rest.steps["one"]?["for_each"]
                == .array([.object(["n": .integer(1)]), .object(["n": .integer(2)])])
        )
    }

    @Test(
        "What is wrong is named",
        arguments: [
            ("name: x", "it has no jobs"),
            ("jobs: {a: {runs-on: x, steps: [], retries: 3}}", "jobs.a.retries: Jobs have no such key"),
            ("jobs: {a: {runs-on: x, strategy: {matrix: {n: 5}}, steps: []}}", "It is no list of values"),
            ("jobs: {a: {runs-on: x, strategy: {matrix: {n: []}}, steps: []}}", "0 combinations"),
            (
                "jobs: {a: {runs-on: x, strategy: {matrix: {n: [1], exclude: [{m: 1}]}}, steps: []}}",
                "no values of that name"
            ),
            ("jobs: {a: {runs-on: x, if: \"github.ref ==\", steps: []}}", "it ends too early"),
            ("jobs: {a: {runs-on: x, if: \"matrix.x == 1\", steps: []}}", "matrix is not known"),
            ("jobs: {a: {runs-on: x, if: \"needs.z.result == 'success'\", steps: []}}", "not among the job's needs"),
            ("jobs: {a: {runs-on: x, timeout-minutes: soon, steps: []}}", "no number of minutes"),
            ("jobs: {a: 1, a: 2}", "\"a\" stands twice"),
            ("jobs: {}", "nothing in it"),
            ("jobs: {a: {if: [1]}}", "A condition is a text"),
            ("jobs: {a: {needs: {b: c}}}", "neither a job nor a list"),
            ("jobs: {a: {strategy: 5}}", "A strategy is a mapping"),
            ("jobs: {a: {continue-on-error: maybe}}", "neither true nor false"),
        ]
    )
    func wrong(text: String, message: String) throws {
        #expect(try Imports.refusal(text, .github).description.contains(message))
    }

    @Test("A run does what GitHub would do")
    func run() async throws {
        try await ImportServer.with { server in
            let release = try Imports.load("release.yml", .github)
            let tag = JSONValue.object(["github": .object(["ref": .string("refs/tags/v1")])])
            let (state, good) = try await server.run(
                release,
                input: tag,
                failing: ["docs"],
                outputs: ["changes": #"{"code": "true"}"#]
            )
            #expect(state == "completed" && good["docs"] == "failed")
            #expect(good["package"] == "completed" && good["cleanup"] == "completed")
            #expect(good["report"] == "skipped" && good["alarm"] == "skipped")
            let bad = try await server.states(
                release,
                input: tag,
                failing: [Self.tests[0]],
                outputs: ["changes": #"{"code": "true"}"#]
            )
            #expect(bad["package"] == "skipped")
            #expect(bad["report"] == "completed" && bad["alarm"] == "completed" && bad["cleanup"] == "completed")
            let branch = try await server.states(
                release,
                input: .object(["github": .object(["ref": .string("refs/heads/main")])]),
                outputs: ["changes": #"{"code": "false"}"#]
            )
            #expect(branch["lint"] == "skipped" && branch["docs"] == "skipped" && branch["package"] == "skipped")
            #expect(branch[Self.tests[0]] == "completed" && branch["cleanup"] == "completed")
        }
    }

    @Test("Called workflows become workflows of their own, whose runs are steps")
    func called() async throws {
        let ship = try Imports.load("ship.yml", .github)
        #expect(ship.children.map(\.name) == ["ship.build-one"])
        #expect(try ship.children[0].members["output"] == .object(["file": .string("$.needs.compile.file")]))
        let build = try ship.steps["build (windows)"]
        #expect(build?["workflow"] == .string("ship.build-one") && build?["handler"] == nil)
        #expect(
            build?["input"]
                == .object([
                    "github": .string("$.run.github"), "vars": .string("$.run.vars"),
                    "inputs": .object([
                        "target": .string("windows"), "channel": .string("stable"),
                        "label": .object([
                            "$template": .string("{{value0}} of {{value1}}"),
                            "data": .object([
                                "value0": .string("$.needs.meta.channel"), "value1": .string("$.run.github.ref"),
                            ]),
                        ]),
                    ]),
                ])
        )
        #expect(ship.leftBehind.contains { $0.subject == "jobs.build.secrets" })
        try await ImportServer.with { server in
            let input = JSONValue.object(["github": .object(["ref": .string("refs/heads/main")])])
            let outputs = ["meta": #"{"channel": "beta"}"#, "compile": #"{"file": "all.tar"}"#]
            let good = try await server.run(ship, input: input, outputs: outputs)
            #expect(good.state == "completed")
            #expect(good.steps["publish"] == "completed" && good.steps["sorry"] == "skipped")
            // Of all that is called, only what was given "beta" has notes.
            let bad = try await server.run(ship, input: input, failing: ["notes"], outputs: outputs)
            #expect(bad.state == "failed" && bad.steps["sign"] == "failed" && bad.steps["build (linux)"] == "completed")
            #expect(bad.steps["publish"] == "skipped" && bad.steps["sorry"] == "completed")
        }
    }

    @Test(
        "What is wrong with a call is named",
        arguments: [
            ("uses: ./.github/workflows/x.txt", "which is no file of workflows"),
            ("uses: ./.github/workflows/workflow.github.yml", "is none that can be called"),
            ("uses: ./.github/workflows/called.yml", "requires the input target"),
            (
                "{ uses: ./called.yml, with: { target: a, size: 5 } }",
                "jobs.a.with.size: The workflow has no such input"
            ),
            (
                "{ uses: ./called.yml, with: { target: \"${{ hashFiles('x') }}\" } }",
                "computed when the run is under way"
            ),
            ("uses: ./ring.yml", "ring.yml.jobs.b.uses: It calls the workflow ./ring.yml, which calls itself"),
        ]
    )
    func wrongCalls(job: String, message: String) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "calls-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let files = [
            "main.yml": "jobs:\n  a: \(job.hasPrefix("{") ? job : "{ \(job) }")\n",
            "called.yml":
                "on: { workflow_call: { inputs: { target: { required: true } } } }\njobs: { b: { runs-on: x, steps: [] } }",
            "workflow.github.yml": "on: push\njobs: { b: { runs-on: x, steps: [] } }",
            "ring.yml": "on: workflow_call\njobs: { b: { uses: ./ring.yml } }",
        ]
        for (name, text) in files {
            try text.write(to: directory.appending(path: name), atomically: true, encoding: .utf8)
        }
        let error = #expect(throws: MillraceError.self) {
            try ImportedDefinition.load(
                directory.appending(path: "main.yml").path(percentEncoded: false),
                format: .github
            )
        }
        #expect(try #require(error).description.contains(message))
    }

    @Test("Combinations that may fail do not stop what needs them, nor fail the run")
    func experimental() async throws {
        let text = """
            jobs:
              test:
                runs-on: x
                continue-on-error: ${{ matrix.experimental }}
                strategy:
                  fail-fast: false
                  matrix: { node: [18, 20], experimental: [false], include: [{ node: 22, experimental: true }] }
                steps: []
              each:
                runs-on: x
                continue-on-error: true
                strategy: { max-parallel: 1, fail-fast: false, matrix: { n: [1, 2] } }
                steps: []
              after: { needs: [test, each], runs-on: x, steps: [] }
            """
        let imported = try Imports.read(text, .github)
        #expect(try imported.steps["test (22, true)"]?["on_error"] == .string("go-on"))
        #expect(try imported.steps["test (20, false)"]?["on_error"] == nil)
        try await ImportServer.with { server in
            let good = try await server.run(imported, failing: ["test (22, true)", "each"])
            #expect(good.state == "completed" && good.steps["after"] == "completed")
            let bad = try await server.run(imported, failing: ["test (20, false)"])
            #expect(bad.state == "failed" && bad.steps["after"] == "skipped")
        }
    }

    @Test("What is for a cancelled run stands at the end")
    func cancelled() throws {
        let text = """
            jobs:
              a: { runs-on: x, steps: [] }
              b: { needs: a, if: "always() && cancelled()", runs-on: x, steps: [] }
            """
        let imported = try Imports.read(text, .github)
        #expect(imported.definition.steps.map(\.isFinal) == [false, true])
        #expect(imported.needs["b"] == [])
        guard case .array(let finally)? = try imported.definition.members["finally"] else {
            throw TestSupportError("There is no finally: \(imported.definition.json)")
        }
        #expect(finally[0]["when"] == .string(#"$.ended.state == "cancelled""#))
    }

    @Test("Asked for, commands become scripts whose outputs are JSON")
    func shell() async throws {
        let text = """
            jobs:
              meta:
                runs-on: x
                outputs: { tag: "${{ steps.name.outputs.tag }}", odd: "${{ steps.name.outputs.odd }}" }
                env: { WHO: it's me }
                strategy: { fail-fast: false, matrix: { n: [7] } }
                steps:
                  - run: echo noise
                  - id: name
                    env: { MORE: "a b" }
                    run: |
                      echo "tag=v${{ matrix.n }}-$MORE" >> "$GITHUB_OUTPUT"
                      printf 'odd=%s "q" \\\\ tab\\there\\n' "$WHO" >> "$GITHUB_OUTPUT"
                  - run: exit 3
                    continue-on-error: true
            """
        let imported = try Imports.read(text, .github) { $0.handler = .shell }
        guard case .object(let with)? = try imported.steps["meta (7)"]?["with"],
            case .string(let script)? = with["command"]
        else { throw TestSupportError("There is no script: \(imported.definition.json)") }
        #expect(with["environment"] == .object(["WHO": .string("it's me")]))
        let output = try Scripts.output(of: script, environment: ["WHO": "it's me"])
        #expect(
            try JSONValue(json: output)
                == .object(["tag": .string("v7-a b"), "odd": .string("it's me \"q\" \\ tab\there")])
        )
    }

    @Test("What a script cannot do is refused")
    func refusedInScripts() throws {
        let text = """
            jobs:
              a:
                runs-on: x
                container: node:20
                steps:
                  - uses: actions/checkout@v4
                  - run: echo ${{ github.event.issue.title }}
                  - run: echo "X=1" >> $GITHUB_ENV
                  - if: always()
                    run: Write-Host x
                    shell: pwsh
            """
        let error = try Imports.refusal(text, .github) { $0.handler = .shell }
        for part in [
            "actions/checkout@v4", "known only when", "GITHUB_ENV", "It cannot be said of a part", "not for bash",
            "runs no containers",
        ] {
            #expect(error.description.contains(part))
        }
        #expect(error.detail?.split(separator: "\n").count == 6)
    }
}
