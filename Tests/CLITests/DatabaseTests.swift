import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

@Suite("Commands on a database")
struct DatabaseTests {
    private static let definition = """
        workflow: order
        steps:
          - { key: check, handler: noop }
          - { key: charge, handler: noop, needs: [check] }
          - { key: ship, handler: noop, needs: [charge] }
        """

    /// A program on a database of its own, with the extension.
    private func withProgram(
        _ tier: PostgresCluster.Tier = .dispatcher,
        _ body: (Program, PostgresCluster) async throws -> Void
    ) async throws {
        try await PostgresCluster.with(tier) { cluster in
            _ = try await cluster.createDatabase("work", extension: true)
            let program = try Program(database: cluster.url(database: "work"))
            try program.write("order.yaml", Self.definition)
            try await body(program, cluster)
        }
    }

    @Test("Define, run and look", arguments: PostgresCluster.Tier.allCases)
    func run(tier: PostgresCluster.Tier) async throws {
        try await withProgram(tier) { program, _ in
            let defined = try await program("define", "order.yaml", "--json")
            #expect(defined.status == 0)
            #expect(try defined.json["version"] == .integer(1))
            #expect(try await program("define", "order.yaml", "--json").json["version"] == .integer(1))

            let run = try await program("run", "order.yaml", "--json", "--input", #"{"n": 1}"#)
            #expect(run.status == 0, "\(run.errors)")
            let report = try run.json
            #expect(
                Set(report.keys).isSuperset(of: [
                    "run_id", "workflow", "state", "steps", "completed", "failed", "skipped", "cancelled", "seconds",
                ])
            )
            #expect(report["state"] == .string("completed"))
            #expect(report["completed"] == .integer(3))

            let plain = try await program("run", "order.yaml", "--agents", "2", "--concurrency", "4")
            #expect(plain.status == 0)
            #expect(plain.output.contains("completed: 3 steps"))
            #expect(!plain.output.contains("\u{1b}"))

            let runs = try await program("runs", "--json").json
            guard case .array(let listed) = runs["runs"] else { throw TestSupportError("no runs") }
            #expect(listed.count == 2)
            guard case .integer(let id) = report["run_id"] else { throw TestSupportError("no id") }
            #expect(try await program("status", "\(id)").output.contains("ship"))
            #expect(try await program("graph", "\(id)", "--as", "dot").output.contains("#cdeccd"))
            #expect(try await program("graph", "order").output.contains("needs charge"))
            #expect(try await program("watch", "\(id)", "--json").json["state"] == .string("completed"))
            #expect(try await program("doctor").status == 0)
        }
    }

    @Test("A program that does not read its input ends its step and nothing else")
    func unreadInput() async throws {
        try await withProgram { program, _ in
            try program.write(
                "deaf.yaml",
                """
                workflow: deaf
                steps:
                  - { key: deaf, handler: shell, with: { command: ["true"] }, input: $.run }
                """
            )
            let input = #"{"text": "\#(String(repeating: "x", count: 100_000))"}"#
            let run = try await program("run", "deaf.yaml", "--input", input)
            #expect(run.status == 0, "\(run.errors)")
        }
    }

    @Test("A run that fails ends with 1, and can be retried and resolved")
    func failure() async throws {
        try await withProgram { program, _ in
            try program.write(
                "bad.yaml",
                """
                workflow: bad
                steps:
                  - { key: breaks, handler: shell, with: { command: "test -e mended" } }
                  - { key: after, handler: noop, needs: [breaks] }
                """
            )
            let failed = try await program("run", "bad.yaml", "--json")
            #expect(failed.status == 1, "\(failed.errors)")
            let report = try failed.json
            #expect(report["state"] == .string("failed"))
            #expect(report["failed"] == .integer(1))
            #expect(report["skipped"] == .integer(1))
            guard case .integer(let id) = report["run_id"] else { throw TestSupportError("no id") }
            #expect(try await program("status", "\(id)", "breaks").output.contains("failed"))

            let retried = try await program("retry", "\(id)", "--json")
            #expect(try retried.json["steps"] == .integer(1))
            try program.write("mended", "")
            let agent = try program.process([Program.path, "agent", "--queues", "default", "--concurrency", "2"])
            #expect(try await program("watch", "\(id)").status == 0)
            agent.send(SIGTERM)
            #expect(try await agent.answer.status == 0)

            try FileManager.default.removeItem(at: program.directory.appending(path: "mended"))
            let again = try await program("run", "bad.yaml", "--json")
            guard case .integer(let second) = try again.json["run_id"] else { throw TestSupportError("no id") }
            let resolved = try await program(
                "resolve",
                "\(second)",
                "breaks",
                "--output",
                #"{"ok": true}"#,
                "--reason",
                "by hand"
            )
            #expect(resolved.status == 0, "\(resolved.errors)")
            #expect(try await program("resolve", "\(second)", "breaks").status == 2)

            let third = try await program("run", "bad.yaml", "--json")
            guard case .integer(let broken) = try third.json["run_id"] else { throw TestSupportError("no id") }
            let dry = try await program("retry", "--workflow", "bad", "--error-class", "exit:x", "--dry-run", "--json")
            let meant: JSONValue = .object(["run_id": .integer(broken), "steps": .integer(1)])
            #expect(try dry.json["runs"] == .array([meant]), "\(dry.errors)")
            let mended = try await program("resolve", "--workflow", "bad", "--key", "breaks", "--json")
            #expect(try mended.json["run_ids"] == .array([.integer(broken)]), "\(mended.errors)")
            let forked = try await program("fork", "\(broken)", "after")
            #expect(forked.status == 0, "\(forked.errors)")
            let gone = try await program("cancel", "--workflow", "bad", "--label", "n=1", "--json")
            #expect(try gone.json["run_ids"] == .array([]), "\(gone.errors)")
            #expect(try await program("cancel", "--state", "running", "--json").status == 0)
            #expect(try await program("retry").status == 2)
            #expect(try await program("retry", "\(broken)", "--all").status == 2)
        }
    }

    @Test("Steps that wait for signals and people", arguments: PostgresCluster.Tier.allCases)
    func waiting(tier: PostgresCluster.Tier) async throws {
        try await withProgram(tier) { program, _ in
            let definition = """
                workflow: vacation
                steps:
                  - key: booked
                    wait_for: { signal: booked }
                  - key: approve
                    needs: [booked]
                    wait_for:
                      person: { candidates: [ann, bob], title: Vacation, answer: { type: object, required: [ok] } }
                """
            try program.write("vacation.yaml", definition)
            _ = try await program("define", "vacation.yaml")
            guard case .integer(let id) = try await program("submit", "vacation", "--json").json["run_id"] else {
                throw TestSupportError("no id")
            }
            #expect(try await program("inbox").output.contains("Nothing waits"))
            #expect(try await program("signal", "\(id)", "boked").errors.contains("booked"))
            let signalled = try await program("signal", "\(id)", "booked", "--payload", "[7]", "--json")
            #expect(try signalled.json["first"] == .bool(true))
            #expect(try await program("signal", "\(id)", "booked").output.contains("before"))
            #expect(try await program("inbox", "--person", "bob").output.contains("ann or bob"))
            #expect(try await program("inbox", "--person", "eve", "--json").json["inbox"] == .array([]))
            let refused = try await program("complete", "\(id)", "approve", "--answer", "{}")
            #expect(refused.status == 2)
            #expect(refused.errors.contains("$.ok is missing"))
            let answered = try await program(
                "complete",
                "\(id)",
                "approve",
                "--answer",
                #"{"ok": true}"#,
                "--by",
                "bob",
                "--json"
            )
            #expect(try answered.json["state"] == .string("completed"), "\(answered.errors)")
            #expect(try await program("complete", "\(id)", "approve").status == 2)
        }
    }

    @Test("Submit, pause, resume and cancel")
    func steer() async throws {
        try await withProgram { program, _ in
            _ = try await program("define", "order.yaml")
            let submitted = try await program("submit", "order", "--json", "--idempotency-key", "k", "--input", "[1]")
            guard case .integer(let id) = try submitted.json["run_id"] else { throw TestSupportError("no id") }
            #expect(try await program("submit", "order", "--idempotency-key", "k").output == "\(id)\n")
            #expect(try await program("pause", "\(id)", "--json").json["state"] == .string("paused"))
            #expect(try await program("pause", "\(id)").status == 2)
            #expect(try await program("resume", "\(id)", "--json").json["state"] == .string("running"))
            #expect(try await program("status", "\(id)", "ship").output.contains("waits for"))
            let cancelled = try await program("cancel", "\(id)", "--reason", "enough", "--json")
            #expect(try cancelled.json["state"] == .string("cancelled"))
            let again = try await program("cancel", "\(id)")
            #expect(again.status == 2)
            #expect(again.errors.contains("cancelled"))
            #expect(try await program("watch", "\(id)").status == 1)
            #expect(try await program("watch", "4711").status == 2)
            let unknown = try await program("submit", "nothing")
            #expect(unknown.status == 2)
            #expect(unknown.errors.contains("nothing"))
        }
    }

    @Test("All that is wrong with a definition is said at once, with its place in the file")
    func validate() async throws {
        try await withProgram { program, _ in
            try program.write(
                "bad.yaml",
                """
                workflow: bad
                steps:
                  - { key: a, handlr: noop }
                  - key: b
                    handler: noop
                    needs: [a, c]
                """
            )
            let refused = try await program("validate", "bad.yaml")
            #expect(refused.status == 2)
            let lines = refused.output.split(separator: "\n")
            #expect(lines.contains { $0.hasPrefix("bad.yaml:3:15: ") && $0.contains("handlr") }, "\(refused.output)")
            #expect(lines.contains { $0.hasPrefix("bad.yaml:6:") && $0.contains("\"c\"") }, "\(refused.output)")
            let checked = try await program("validate", "bad.yaml", "--json")
            #expect(checked.status == 2)
            guard case .array(let problems) = try checked.json["problems"] else {
                throw TestSupportError("no problems")
            }
            #expect(problems.count == lines.filter { !$0.hasPrefix("  ") }.count)
            #expect(try await program("define", "bad.yaml").status == 2)
            #expect(try await program("runs").status == 0)
            #expect(try await program("validate", "order.yaml").status == 0)
        }
    }

    @Test("On a terminal the picture moves; in a pipe nothing does")
    func terminal() async throws {
        try await withProgram { program, _ in
            try program.write(
                "slow.yaml",
                "workflow: slow\nsteps: [{key: a, handler: sleep, with: {seconds: 0.6}}, {key: b, handler: noop, needs: [a]}]"
            )
            let command = "'\(Program.path)' run slow.yaml"
            let terminal = try await program.run(["/usr/bin/script", "-qec", command, "/dev/null"])
            #expect(terminal.status == 0)
            #expect(terminal.output.contains("\u{1b}["))
            #expect(terminal.output.contains("░") || terminal.output.contains("█"))
            let plain = try await program("run", "slow.yaml")
            #expect(!plain.output.contains("\u{1b}"))
            #expect(plain.output.split(separator: "\n").last?.contains("completed: 2 steps") == true)
        }
    }

    @Test("A recorded workflow, replayed")
    func replay() async throws {
        try await withProgram { program, _ in
            try program.write(
                "two.json",
                #"{"name": "two", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": [{"id": "a", "parents": [], "children": ["b"]}, {"id": "b", "parents": ["a"], "children": []}]}, "execution": {"tasks": [{"id": "a", "runtimeInSeconds": 10}, {"id": "b", "runtimeInSeconds": 10}]}}}"#
            )
            for options in [["--time-scale", "0.005"], ["--seconds", "0.1", "--order", "first-come"], ["--seconds", "0.1", "--learn"]] {
                let replay = try await program.run([Program.path, "bench", "replay", "two.json", "--workers", "2", "--warm-up", "20", "--json"] + options)
                #expect(replay.status == 0, "\(replay.errors)")
                let figures = try replay.json
                #expect(figures["ok"] == .bool(true))
                #expect(figures["steps"] == .integer(2) && figures["depth"] == .integer(2))
                #expect(figures["lower_bound_seconds"] == .number(0.1))
                #expect(figures["schedule_to_lower_bound"] == .integer(1))
                #expect((figures["first_makespan_seconds"] != nil) == options.contains("--learn"))
            }
        }
    }

    @Test("Databases that cannot be used")
    func unusable() async throws {
        try await withProgram { program, cluster in
            _ = try await cluster.createDatabase("bare")
            let bare = try await program("runs", "--database", cluster.url(database: "bare"))
            #expect(bare.status == 3)
            #expect(bare.errors.contains("CREATE EXTENSION millrace"))

            let wrong = "postgresql://postgres:wrong@127.0.0.1:\(cluster.port)/work"
            let refused = try await program("runs", "--database", wrong)
            #expect(refused.status == 3)
            #expect(refused.errors.contains("password"))
            #expect(!refused.errors.contains("wrong@"))

            #expect(try await program("runs", "--database", cluster.url(database: "nowhere")).status == 3)

            _ = try await cluster.createDatabase("old", extension: true)
            try await cluster.psql(
                "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'millrace'",
                database: "old"
            )
            let old = try await program("run", "order.yaml", "--database", cluster.url(database: "old"))
            #expect(old.status == 3)
            #expect(old.errors.contains("0.0.9"))
            #expect(old.errors.contains("ALTER EXTENSION millrace UPDATE"))
            let doctor = try await program("doctor", "--json", "--database", cluster.url(database: "old"))
            #expect(doctor.status == 3)
            #expect(try doctor.json["ok"] == .bool(false))
        }
    }

    @Test("The doctor says when the server has too few slots for the workers of its databases")
    func workerSlots() async throws {
        try await PostgresCluster.with(.dispatcher, settings: ["max_worker_processes": "4"]) { cluster in
            _ = try await cluster.createDatabase("work", extension: true)
            let program = try Program(database: cluster.url(database: "work"))
            try await eventually("one database has its workers, and slots enough") {
                let output = try await program("doctor").output
                return output.contains("waker and keeper are alive") && !output.contains("max_worker_processes")
            }
            _ = try await cluster.createDatabase("second", extension: true)
            try await eventually("two need more, and it says how many") {
                try await program("doctor").output.contains("max_worker_processes = 14 (now 4)")
            }
        }
    }

    @Test("An agent's settings come from flags, the environment and a file, and wrong ones are named")
    func agentSettings() async throws {
        try await withProgram { program, _ in
            try program.write("agent.json", #"{"agent": {"queues": ["slow"], "concurrency": 3, "name": "file"}}"#)
            let agent = try program.process(
                [Program.path, "agent", "--config", "agent.json", "--handlers", "noop,sql"],
                environment: ["MILLRACE_AGENT_NAME": "environment"]
            )
            try await eventually("the agent is registered") {
                try await program("status", "--json").output.contains("environment")
            }
            guard case .array(let agents) = try await program("status", "--json").json["agents"],
                case .object(let members) = agents.first
            else { throw TestSupportError("no agents") }
            #expect(members["queues"] == .array([.string("slow")]))
            #expect(members["handlers"] == .array([.string("noop"), .string("sql")]))
            agent.send(SIGTERM)
            #expect(try await agent.answer.status == 0)

            let none = try await program.run(
                [Program.path, "agent"],
                environment: ["MILLRACE_AGENT_CONCURRENCY": "0"]
            )
            #expect(none.status == 2)
            #expect(none.errors.contains("concurrency"))
            #expect(try await program("agent", "--config", "absent.json").status == 2)
            #expect(try await program("agent", "--handlers", "nonsense").status == 2)
        }
    }

    @Test("An interrupted run stops, and can go on")
    func interrupted() async throws {
        try await withProgram { program, _ in
            try program.write(
                "long.yaml",
                "workflow: long\nsteps: [{key: a, handler: noop}, {key: b, handler: sleep, with: {seconds: 600}, needs: [a]}]"
            )
            let run = try program.process([Program.path, "run", "long.yaml"])
            try await eventually("the long step runs") { run.output.contains("1 of 2 steps, 1 running") }
            run.send(SIGINT)
            let answer = try await run.answer
            #expect(answer.status == 1)
            #expect(answer.output.contains("goes on when an agent does"))
            guard case .array(let runs) = try await program("runs", "--json").json["runs"],
                case .object(let members) = runs.first
            else { throw TestSupportError("no runs") }
            #expect(members["state"] == .string("running"))
            #expect(members["running"] == .integer(0))
        }
    }
}
