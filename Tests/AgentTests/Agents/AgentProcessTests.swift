import Foundation
import MillraceTestSupport
import Testing

/// An agent as a program of its own: the example.
@Suite(.serialized) struct AgentProcessTests {
    private func start(_ fixture: AgentFixture) throws -> Process {
        let process = Process()
        // The example stands beside the tests.
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "GreeterExample")
        let url = fixture.cluster.url(database: fixture.database.database ?? "")
        process.environment = ProcessInfo.processInfo.environment.merging(["MILLRACE_DATABASE_URL": url]) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// Waits for the end; answers how it ended.
    private func ending(of process: Process) async throws -> String {
        try await eventually("the process ends") { !process.isRunning }
        return process.terminationReason == .exit
            ? "exit \(process.terminationStatus)" : "signal \(process.terminationStatus)"
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func anotherProcessGoesOnWhereOneWasKilled(tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(
            #"""
            [{"key": "sleep", "handler": "sleep", "with": {"seconds": 0.2}},
             {"key": "greet", "needs": ["sleep"], "handler": "greet", "input": {"name": "$.run.name"}}]
            """#,
            input: #"{"name": "Ada"}"#,
            runs: 60
        )
        let first = try start(fixture)
        try await eventually("steps run") {
            try await fixture.psql("SELECT count(*) > 0 FROM millrace.events WHERE kind = 'step_started'") == "t"
        }
        kill(first.processIdentifier, SIGKILL)
        #expect(try await ending(of: first) == "signal 9")
        // As if the time of its lease had passed.
        try await fixture.psql("UPDATE millrace_internal.agent SET lease_expires_at = now() - interval '1 s'")

        let second = try start(fixture)
        try await fixture.eventuallyEnds(runs, as: "completed")
        for run in runs { #expect(try await fixture.completions(of: run) == "2|2") }
        second.terminate()
        #expect(try await ending(of: second) == "exit 0")
    }

    @Test func sigtermFinishesWhatRunsAndTakesLeave() async throws {
        let fixture = try await AgentFixture(.plain)
        // What the agent holds but has not begun is given back, so the step itself says that it runs.
        let sign = FileManager.default.temporaryDirectory.appending(path: "millrace-\(UUID()).started")
        defer { try? FileManager.default.removeItem(at: sign) }
        let runs = try await fixture.submit(
            #"[{"key": "sleep", "handler": "shell", "with": {"command": "touch '\#(sign.path)'; sleep 0.5"}}]"#
        )
        let process = try start(fixture)
        try await eventually("the step runs") { FileManager.default.fileExists(atPath: sign.path) }
        process.terminate()
        #expect(try await ending(of: process) == "exit 0")
        #expect(try await fixture.state(of: runs[0]) == "completed")
        #expect(try await fixture.psql("SELECT count(*) FROM millrace.agents") == "0")
    }
}
