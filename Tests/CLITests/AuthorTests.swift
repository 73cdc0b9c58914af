import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

@Suite("Tools for authors")
struct AuthorTests {
    private static let definition = """
        workflow: order
        steps:
          - { key: validate, handler: http }
          - key: charge
            needs: [validate]
            handler: http
            input: { total: "$.needs.validate.total" }
            retry: { limit: 3, backoff: 10s, jitter: 0 }
            timeout: 30s
            expected: 5s
          - { key: pack, needs: [validate], handler: sleep, with: { seconds: 90000 } }
          - { key: ship, needs: [charge, pack], handler: shell, when: "$.needs.charge.paid == true", with: { command: "false" } }
          - { key: refund, needs: [ship], rule: all_failed, handler: noop }
          - { key: count, needs: [charge], handler: sql, with: { statement: "select count(*) from parcel" } }
        """

    private static let mocks = """
        input: { order_id: 7 }
        setup: setup.sql
        steps:
          validate: { output: { total: 42 }, delay: 1.5s }
          charge:
            - { error: "no answer" }
            - { delay: 45s }
            - { output: { paid: true } }
        expect:
          run: completed
          steps:
            refund: skipped
            charge: { state: completed, attempts: 3, input: { total: 42 }, output: { paid: true } }
            count: { state: completed, output: 2 }
          path: [validate, [charge, pack], charge, charge, count, ship]
        """

    private func withProgram(
        _ tier: PostgresCluster.Tier = .plain,
        _ body: (Program, PostgresCluster) async throws -> Void
    ) async throws {
        try await PostgresCluster.with(tier) { cluster in
            _ = try await cluster.createDatabase("work", extension: true)
            let program = try Program(database: cluster.url(database: "work"))
            try program.write("order.yaml", Self.definition)
            try program.write("mocks.yaml", Self.mocks)
            try program.write("setup.sql", "create table parcel (id int); insert into parcel values (1), (2);")
            try await body(program, cluster)
        }
    }

    private func databases(_ cluster: PostgresCluster) async throws -> String {
        try await cluster.psql("select count(*) from pg_database where datname like 'millrace_test%'", database: "work")
    }

    @Test("A definition is executed with given outputs, and days pass in a moment", arguments: PostgresCluster.Tier.allCases)
    func rehearsal(tier: PostgresCluster.Tier) async throws {
        try await withProgram(tier) { program, cluster in
            let told = try await program("test", "order.yaml", "--mocks", "mocks.yaml")
            #expect(told.status == 0, "\(told.output)\n\(told.errors)")
            #expect(told.output.contains("order: completed after 25 h 00 min"), "\(told.output)")

            let answer = try await program("test", "order.yaml", "--mocks", "mocks.yaml", "--json")
            #expect(answer.status == 0, "\(answer.errors)")
            let report = try answer.json
            #expect(report["state"] == "completed" && report["violations"] == [])
            guard case .array(let starts) = report["starts"] else { throw TestSupportError("no starts") }
            let path = starts.map { [$0["step"], $0["outcome"], $0["at"]] }
            #expect(path.map { $0[0] } == ["validate", "charge", "pack", "charge", "charge", "count", "ship"])
            #expect(path.map { $0[1] } == ["completed", "failed", "completed", "timed_out", "completed", "completed", "completed"])
            // A try that takes longer than its timeout ends there; 10 s and 20 s of back-off.
            #expect(path.map { $0[2] } == [0, 1.5, 1.5, 11.5, 61.5, 61.5, 90001.5])
            #expect(try await databases(cluster).contains("0"))
        }
    }

    @Test("What a failed run had done is undone, and the path tells")
    func compensations() async throws {
        try await withProgram { program, _ in
            try program.write(
                "booking.yaml",
                """
                workflow: booking
                steps:
                  - { key: room, handler: http, compensate: { handler: cancel-room, input: { id: "$.output.id" } } }
                  - key: seats
                    needs: [room]
                    for_each: [1, 2]
                    handler: http
                    compensate: { handler: http, queue: undo, retry: { limit: 1, jitter: 0 } }
                  - { key: pay, needs: [seats], handler: http }
                finally:
                  - { key: tell, handler: noop }
                """
            )
            try program.write(
                "failing.yaml",
                """
                steps:
                  room: { output: { id: 7 } }
                  pay: { outcome: fatal, error: "no money" }
                  "compensate:seats[0]": [{ error: "busy" }, { output: true }]
                expect:
                  run: failed
                  steps: { room: completed, "compensate:room": { state: completed, input: { id: 7 } }, tell: completed }
                  path:
                    - room
                    - ["seats[0]", "seats[1]"]
                    - pay
                    - "compensate:seats[1]"
                    - "compensate:seats[0]"
                    - "compensate:seats[0]"
                    - "compensate:room"
                    - tell
                """
            )
            let told = try await program("test", "booking.yaml", "--mocks", "failing.yaml")
            #expect(told.status == 0, "\(told.output)\n\(told.errors)")

            #expect(try await program("define", "booking.yaml").status == 0)
            let graph = try await program("graph", "booking.yaml")
            #expect(graph.output.contains("undone by cancel-room"), "\(graph.output)")
        }
    }

    @Test("Signals and people answer when the script says")
    func outside() async throws {
        try await withProgram { program, _ in
            try program.write(
                "approval.yaml",
                """
                workflow: approval
                steps:
                  - { key: paid, wait_for: { signal: paid }, timeout: 10h }
                  - key: approve
                    needs: [paid]
                    wait_for: { person: { candidates: [ada, bob], answer: { type: object, required: [yes] } } }
                  - { key: reminded, wait_for: { duration: 1h } }
                  - { key: ship, needs: [approve, reminded], handler: shell, with: { command: "false" } }
                """
            )
            try program.write(
                "told.yaml",
                """
                signals: [{ name: paid, payload: { by: card }, at: 3h }]
                steps: { approve: { output: { yes: true }, delay: 2h } }
                expect:
                  run: completed
                  steps: { paid: { output: { by: card } }, approve: { output: { yes: true } }, reminded: completed }
                  path: [approve, ship]
                """
            )
            let told = try await program("test", "approval.yaml", "--mocks", "told.yaml", "--json")
            #expect(told.status == 0, "\(told.output)\n\(told.errors)")
            #expect(try told.json["seconds"] == .integer(5 * 3600))

            // Nobody pays: the wait ends by its timeout.
            try program.write("unpaid.yaml", "expect: { run: failed, steps: { paid: failed, ship: skipped } }")
            let unpaid = try await program("test", "approval.yaml", "--mocks", "unpaid.yaml", "--json")
            #expect(unpaid.status == 0, "\(unpaid.output)")
            #expect(try unpaid.json["seconds"] == .integer(10 * 3600))

            // Nobody approves, and there is no timeout: the run is left waiting.
            try program.write("mute.yaml", "signals: [{ name: paid }]")
            let mute = try await program("test", "approval.yaml", "--mocks", "mute.yaml", "--json")
            #expect(mute.status == 1)
            #expect(try mute.json["state"] == "running")
            try program.write("misspelt.yaml", "signals: [{ name: payd }]")
            #expect(try await program("test", "approval.yaml", "--mocks", "misspelt.yaml").status == 2)
        }
    }

    @Test("What does not come as expected is said, and fails")
    func violations() async throws {
        try await withProgram { program, _ in
            try program.write(
                "wrong.yaml",
                """
                setup: setup.sql
                others: { output: [1] }
                steps: { charge: { outcome: fatal, error: "no money" } }
                expect:
                  run: completed
                  steps: { charge: { state: failed, error: "another" }, nobody: completed, ship: completed }
                  path: [validate, charge, ship]
                """
            )
            let report = try await program("test", "order.yaml", "--mocks", "wrong.yaml", "--json")
            #expect(report.status == 1)
            guard case .array(let violations) = try report.json["violations"] else { throw TestSupportError("none") }
            let texts = violations.compactMap(\.text)
            #expect(texts.contains("The run is failed, not completed."))
            #expect(texts.contains("Step \"charge\": the error is \"no money\", not \"another\"."))
            #expect(texts.contains("There is no step \"nobody\"."))
            #expect(texts.contains("Step \"ship\": state is skipped, not completed."))
            #expect(texts.contains { $0.hasPrefix("The path at 3: ship was expected, pack came.") }, "\(texts)")
        }
    }

    @Test("A run that hangs is left where it stands, with the reason")
    func hanging() async throws {
        try await withProgram { program, _ in
            try program.write("mute.yaml", "workflow: mute\nsteps: [{key: a, handler: noop}]")
            try program.write("released.yaml", "setup: setup.sql\nsteps: { validate: { error: x } }")
            let failed = try await program("test", "order.yaml", "--mocks", "released.yaml", "--json")
            // Nothing was expected: that the run ended is enough.
            #expect(failed.status == 0)
            #expect(try failed.json["state"] == "failed")
            #expect(try await program("test", "mute.yaml").status == 0)
        }
    }

    @Test("A script that cannot be read is named with its place", arguments: [
        ("steps: { a: { outptu: 1 } }", "steps.a.outptu: there is no such key"),
        ("steps: { a: { outcome: fine } }", "steps.a.outcome is none of"),
        ("steps: { a: [] }", "steps.a says nothing"),
        ("steps: { a: { delay: soon } }", "steps.a.delay is not an interval"),
        ("start: yesterday", "start is not a time"),
        ("expect: { path: validate }", "expect.path is not an array"),
        ("expect: { steps: { a: { attempts: many } } }", "expect.steps.a.attempts is not a number"),
        ("workflows: [absent.yaml]", "There is no such file"),
        ("[1]", "The script is not an object"),
    ])
    func unreadable(script: String, message: String) async throws {
        let program = try Program()
        try program.write("one.yaml", "workflow: one\nsteps: [{key: a, handler: noop}]")
        try program.write("script.yaml", script)
        let answer = try await program("test", "one.yaml", "--mocks", "script.yaml")
        #expect(answer.status == 2)
        #expect(answer.errors.contains(message), "\(answer.errors)")
        #expect(!FileManager.default.fileExists(atPath: program.directory.appending(path: ".millrace").path()))
    }

    @Test("A file and a stored workflow are explained alike, and the file leaves nothing behind")
    func explain() async throws {
        try await withProgram { program, cluster in
            _ = try await cluster.psql("create table parcel (id int)", database: "work")
            let file = try await program("explain", "order.yaml", "--json", "--step", "ship")
            #expect(file.status == 0, "\(file.errors)")
            let explained = try file.json
            #expect(explained["critical_path"] == ["validate", "charge", "ship", "refund"])
            #expect(explained["critical_seconds"] == 8 && explained["total_seconds"] == 10 && explained["levels"] == 4)
            #expect(explained["paths"]?["ancestors"] == ["validate", "charge", "pack"])
            #expect(explained["paths"]?["descendants"] == ["refund"])
            #expect(try await program("graph", "order").status == 2)

            #expect(try await program("define", "order.yaml").status == 0)
            let stored = try await program("explain", "order", "--json", "--step", "ship")
            #expect(try stored.json["steps"] == explained["steps"])
            let text = try await program("explain", "order").output
            #expect(text.contains("order version 1: 6 steps, 6 edges, 4 levels"))
            #expect(text.contains("Critical path: validate → charge → ship → refund, 8.00 s of 10.0 s in all; durations as expected"))
            #expect(try await program("explain", "order", "--step", "nobody").status == 2)
            #expect(try await program("explain", "nothing").status == 2)
            #expect(try await program("explain", "order", "--workflow-version", "9").status == 2)
        }
    }

    @Test("A run is drawn with the states of its steps")
    func drawnRun() async throws {
        try await withProgram(.dispatcher) { program, _ in
            try program.write("pair.yaml", "workflow: pair\nsteps: [{key: a, handler: noop}, {key: b, handler: noop, needs: [a], when: '$.run.x == 1'}]")
            let run = try await program("run", "pair.yaml", "--json")
            guard case .integer(let id) = try run.json["run_id"] else { throw TestSupportError("no id") }
            let text = try await program("graph", "\(id)").output
            #expect(text.contains("a  completed  noop"), "\(text)")
            #expect(text.contains("b  skipped    noop    needs a  [when $.run.x == 1]"), "\(text)")
        }
    }

    private static let hasGraphviz = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .contains { FileManager.default.isExecutableFile(atPath: "\($0)/dot") }

    @Test("As a picture, where Graphviz is there", .enabled(if: hasGraphviz))
    func picture() async throws {
        let program = try Program()
        try program.write("order.yaml", Self.definition)
        let picture = try await program("graph", "order.yaml", "--as", "svg")
        #expect(picture.status == 0, "\(picture.errors)")
        #expect(picture.output.contains("<svg") && picture.output.contains(">refund<"))
    }

    @Test("Where Graphviz is not there it is asked for")
    func noPicture() async throws {
        let program = try Program()
        try program.write("order.yaml", Self.definition)
        let picture = try await program.run(
            [Program.path, "graph", "order.yaml", "--as", "svg"],
            environment: ["PATH": program.directory.path(percentEncoded: false)]
        )
        #expect(picture.status == 2)
        #expect(picture.errors.contains("apt-get install graphviz"))
    }

    @Test("The schema is printed as it stands")
    func schema() async throws {
        let printed = try await Program()("schema")
        #expect(printed.status == 0)
        #expect(printed.output == DefinitionSchema.json)
        #expect(try JSONValue(json: printed.output)["properties"]?["steps"] != nil)
    }
}
