import Foundation
import Millrace
import MillraceTestSupport
import Testing

@Suite("The embedded database")
struct EmbeddedTests {
    /// A directory in which `millrace up` has answered a URL; stopped and removed at the end.
    private func withEmbedded(mode: Int = 0o755, _ body: (Program, String) async throws -> Void) async throws {
        let program = try Program(mode: mode)
        let up = try await program("up", "--json")
        try #require(up.status == 0, "\(up.errors)")
        guard case .string(let url) = try up.json["url"] else { throw TestSupportError("no url") }
        let result: Result<Void, any Error>
        do { result = .success(try await body(program, url)) } catch { result = .failure(error) }
        let data = try? await ask(program, url, "show data_directory")
        _ = try await program("down")
        if let data, data.hasPrefix("/var/lib/millrace/") {
            try? FileManager.default.removeItem(at: URL(filePath: data).deletingLastPathComponent())
        }
        try result.get()
    }

    private func ask(_ program: Program, _ url: String, _ sql: String) async throws -> String {
        let answer = try await program.run(["/usr/bin/psql", url, "-XAtqc", sql])
        guard answer.status == 0 else { throw TestSupportError(answer.errors) }
        return answer.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func serverProcess(_ program: Program, _ url: String) async throws -> (id: pid_t, data: String) {
        let data = try await ask(program, url, "show data_directory")
        let text = try String(contentsOfFile: "\(data)/postmaster.pid", encoding: .utf8)
        return (pid_t(text.split(separator: "\n")[0])!, data)
    }

    private func isGone(_ process: pid_t) -> Bool {
        kill(process, 0) != 0 && errno == ESRCH
            || (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8))?.contains(") Z") == true
    }

    @Test("Up, again, psql, run, down, again")
    func life() async throws {
        try await withEmbedded { program, url in
            #expect(try await program("up").output == "\(url)\n")
            #expect(
                try await ask(program, url, "select extname from pg_extension where extname = 'millrace'") == "millrace"
            )
            #expect(try await ask(program, url, "show shared_preload_libraries") == "millrace")
            let loopback = try await program("up", "--loopback").output.trimmingCharacters(in: .newlines)
            #expect(try await ask(program, loopback, "select current_user") == "millrace")
            let psql = try await program("psql", "--", "-XAtqc", "select 1 + 1")
            #expect(psql.output == "2\n")

            try program.write("one.yaml", "workflow: one\nsteps: [{key: a, handler: noop}]")
            #expect(try await program("run", "one.yaml").status == 0)

            let (process, _) = try await serverProcess(program, url)
            #expect(try await program("down", "--json").json["stopped"] == .bool(true))
            try await eventually("the server is gone") { isGone(process) }
            #expect(try await program("down", "--json").json["stopped"] == .bool(false))
            #expect(try await program("runs").status == 3)
            #expect(try await program("up").status == 0)
            let runs = try await program("runs", "--json").json
            guard case .array(let listed) = runs["runs"] else { throw TestSupportError("no runs") }
            #expect(listed.count == 1)
        }
    }

    @Test("After a killed server, and with a process id that now belongs to another program")
    func killed() async throws {
        try await withEmbedded { program, url in
            let (process, data) = try await serverProcess(program, url)
            kill(process, SIGKILL)
            try await eventually("the server is gone") { isGone(process) }
            #expect(try await program("up").status == 0)

            let (second, _) = try await serverProcess(program, url)
            #expect(second != process)
            kill(second, SIGKILL)
            try await eventually("the server is gone") { isGone(second) }
            let file = "\(data)/postmaster.pid"
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let rest = text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst()
            let ours = ([Substring("\(getpid())")] + rest).joined(separator: "\n")
            try Data(ours.utf8).write(to: URL(filePath: file))
            #expect(try await program("up").status == 0)
            #expect(try await ask(program, url, "select 1") == "1")
        }
    }

    @Test("After a first try that was killed half way")
    func halfMade() async throws {
        let program = try Program()
        let first = try program.process([Program.path, "up"])
        try await eventually("initdb is at work") {
            let place = program.directory.appending(path: ".millrace/postgres").path(percentEncoded: false)
            let made = (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []
            return made.contains { $0.hasPrefix("data.new.") }
        }
        first.send(SIGKILL)
        _ = try await first.answer
        let second = try await program("up", "--json")
        #expect(second.status == 0, "\(second.errors)")
        #expect(try await program("doctor").status == 0)
        _ = try await program("down")
    }

    @Test("Several at once make one")
    func together() async throws {
        let program = try Program()
        let answers = try await withThrowingTaskGroup(of: Program.Answer.self) { group in
            for _ in 0..<3 { group.addTask { try await program("up", "--json") } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(answers.map(\.status)) == [0])
        #expect(Set(answers.map(\.output)).count == 1)
        _ = try await program("down")
    }

    @Test("In a directory that the server's account cannot reach, and in a deep one")
    func places() async throws {
        try await withEmbedded(mode: 0o700) { program, url in
            let answer = try await ask(program, url, "select 1")
            #expect(answer == "1")
        }
        let program = try Program()
        let deep = program.directory.appending(path: String(repeating: "deep/", count: 30))
        try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
        let up = try await program.run([
            "/bin/sh", "-c", "cd '\(deep.path(percentEncoded: false))' && '\(Program.path)' up",
        ])
        #expect(up.status == 0, "\(up.errors)")
        #expect(try await ask(program, up.output.trimmingCharacters(in: .newlines), "select 1") == "1")
        let down = try await program.run([
            "/bin/sh", "-c", "cd '\(deep.path(percentEncoded: false))' && '\(Program.path)' down",
        ])
        #expect(down.status == 0)
    }

    @Test("Without the extension it says what to install")
    func withoutExtension() async throws {
        let program = try Program()
        let fake = try program.write(
            "pg_config",
            "#!/bin/sh\ncase $1 in --version) echo PostgreSQL 15.1;; --bindir) dirname \"$(ls /usr/lib/postgresql/*/bin/initdb | tail -1)\";; *) echo /nowhere;; esac\n"
        )
        let path = program.directory.appending(path: fake).path(percentEncoded: false)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        let up = try await program.run([Program.path, "up"], environment: ["PG_CONFIG": path])
        #expect(up.status == 3)
        #expect(up.errors.contains("make install-extension"))
        let wrong = try await program.run([Program.path, "up"], environment: ["PG_CONFIG": "/bin/false"])
        #expect(wrong.status == 1)
        #expect(wrong.errors.contains("PG_CONFIG"))
    }
}
