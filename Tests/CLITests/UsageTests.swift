import Foundation
import Millrace
import MillraceTestSupport
import Testing

@Suite("Usage and files")
struct UsageTests {
    @Test("Help and version end well")
    func help() async throws {
        let program = try Program()
        let help = try await program("--help")
        #expect(help.status == 0)
        #expect(help.output.contains("SUBCOMMANDS") || help.output.contains("Work"))
        #expect(try await program("--version").output == "millrace \(MillraceVersion.current)\n")
        for command in [
            "run", "up", "down", "psql", "define", "import", "submit", "watch", "status", "runs", "graph", "cancel",
            "pause", "resume", "retry", "resolve", "agent", "bench", "doctor",
        ] {
            let answer = try await program(command, "--help")
            #expect(answer.status == 0 && answer.output.contains("USAGE: millrace \(command)"))
        }
    }

    @Test(
        "What cannot be understood is usage",
        arguments: [
            ["nonsense"], ["run"], ["submit"], ["watch", "seven"], ["run", "x.yaml", "--agents", "-1"],
            ["runs", "--limit", "0"],
            ["bench", "throughput", "--shape", "circle"], ["graph", "x.yaml", "--as", "picture"],
        ]
    )
    func usage(arguments: [String]) async throws {
        let answer = try await Program().run([Program.path] + arguments)
        #expect(answer.status == 2)
        #expect(answer.errors.contains("Error:"))
        #expect(answer.output.isEmpty)
    }

    @Test("Files are read before a database is looked for")
    func files() async throws {
        let program = try Program()
        try program.write("bad.yaml", "workflow: x\nsteps: [")
        try program.write("old.json", #"{"name": "x", "schemaVersion": "1.1", "workflow": {"jobs": []}}"#)
        let absent = try await program("run", "absent.yaml")
        #expect(absent.status == 2)
        #expect(absent.errors.contains("absent.yaml: There is no such file."))
        let bad = try await program("define", "bad.yaml")
        #expect(bad.status == 2)
        #expect(bad.errors.contains("line 2") || bad.errors.contains("line 3"))
        let old = try await program("import", "--format", "wfformat", "old.json")
        #expect(old.status == 2)
        #expect(old.errors.contains("WfFormat 1.1 is not supported"))
        let input = try await program("submit", "x", "--input", "{")
        #expect(input.status == 2)
        #expect(input.errors.contains("--input: This is no JSON."))
        #expect(!FileManager.default.fileExists(atPath: program.directory.appending(path: ".millrace").path()))
    }

    @Test("A file is drawn without a database")
    func graph() async throws {
        let program = try Program()
        try program.write(
            "two.yaml",
            "workflow: two\nsteps: [{key: a, handler: noop}, {key: b, handler: noop, needs: [a]}]"
        )
        let text = try await program("graph", "two.yaml")
        #expect(text.status == 0)
        #expect(text.output.hasPrefix("two  2 steps, 1 edge, 2 levels"))
        #expect(try await program("graph", "two.yaml", "--as", "dot").output.contains("\"a\" -> \"b\";"))
        let json = try await program("graph", "two.yaml", "--json").json
        #expect(json["steps"] == .integer(2))
    }

    @Test("An import can be printed")
    func printed() async throws {
        let program = try Program()
        try program.write(
            "one.json",
            #"{"name": "one", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": [{"id": "a", "name": "a", "parents": [], "children": []}]}}}"#
        )
        let printed = try await program("import", "--format", "wfformat", "--print", "one.json")
        #expect(printed.output == #"{"workflow":"one","steps":[{"key":"a","handler":"noop"}]}"# + "\n")
    }

    @Test("Without a database the exit code is 3")
    func unreachable() async throws {
        let program = try Program()
        let none = try await program("runs")
        #expect(none.status == 3)
        #expect(none.errors.contains("millrace up"))
        let closed = try await program("runs", "--database", "postgresql://127.0.0.1:1/x")
        #expect(closed.status == 3)
        let doctor = try await program("doctor", "--json", "--database", "postgresql://127.0.0.1:1/x")
        #expect(doctor.status == 3)
        #expect(try doctor.json["ok"] == .bool(false))
        let malformed = try await program("runs", "--database", "postgresql://%%%")
        #expect(malformed.status == 2)
    }
}
