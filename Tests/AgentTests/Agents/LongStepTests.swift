import Foundation
import Millrace
import MillraceAgent
import MillraceTestSupport
import Synchronization
import Testing

/// Steps that say how far they are, on real servers.
@Suite(.serialized) struct LongStepTests {
    private struct State: Codable { var done: Int }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func aNextAttemptGoesOnFromTheCheckpoint(_ tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(
            #"[{"key": "copy", "handler": "copy", "retry": {"limit": 2, "backoff": 0}}]"#
        )
        var handlers = Handlers.standard
        handlers.register("copy") { step in
            let state: State? = try await step.checkpoint()
            let done = (state?.done ?? 0) + 10
            try await step.save(checkpoint: State(done: done))
            step.progress(Double(done) / 30, "\(done) rows")
            step.log("copied \(done)\nof 30")
            guard done == 30 else { throw HandlerError.retriable("broken off at \(done)") }
            return .json("\(done)")
        }
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(try await fixture.step("output", "copy", of: runs[0]) == "30")
        #expect(try await fixture.step("attempts || ' ' || progress || ' ' || progress_message", "copy", of: runs[0]) == "3 1 30 rows")
        #expect(
            try await fixture.psql(
                "SELECT string_agg(line, ',' ORDER BY token, line_no) FROM millrace.step_logs WHERE run_id = \(runs[0])"
            ) == "copied 10,of 30,copied 20,of 30,copied 30,of 30"
        )
    }

    @Test func progressIsSeenWhileTheStepRuns() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        let runs = try await fixture.submit(#"[{"key": "wait", "handler": "wait"}]"#)
        let isSeen = Mutex(false)
        var handlers = Handlers.standard
        handlers.register("wait") { step in
            step.progress(0.5, "half way")
            step.log("waiting")
            while !isSeen.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(10)) }
            return .none
        }
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await eventually("progress and log are stored", within: .seconds(30)) {
                let progress = try await fixture.step("progress || ' ' || progress_message || ' ' || state", "wait", of: runs[0])
                let log = try await fixture.psql("SELECT line FROM millrace.step_logs WHERE run_id = \(runs[0])")
                return progress == "0.5 half way running" && log == "waiting"
            }
            isSeen.withLock { $0 = true }
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
    }

    @Test func programsWriteTheLogOfTheirStep() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        setenv("MILLRACE_SECRET_LOGGED", "very-secret", 1)
        let runs = try await fixture.submit(
            #"""
            [{"key": "sh", "handler": "shell", "with": {"command": ["sh", "-c", "echo one; echo two $TOKEN >&2; printf three"], "environment": {"TOKEN": "secret://LOGGED"}}},
             {"key": "many", "handler": "shell", "with": {"command": ["seq", "1", "10005"]}}]
            """#
        )
        try await fixture.with(fixture.agent()) { _ in try await fixture.eventuallyEnds(runs, as: "completed") }
        #expect(
            try await fixture.psql(
                """
                SELECT string_agg(stream || ':' || line, ',' ORDER BY stream, line_no) FROM millrace.step_logs
                WHERE run_id = \(runs[0]) AND key = 'sh'
                """
            ) == "stderr:two [secret],stdout:one,stdout:three"
        )
        #expect(
            try await fixture.psql(
                """
                SELECT count(*), max(line_no), max(line) FILTER (WHERE line_no = 9999), max(line) FILTER (WHERE line_no = 10000)
                FROM millrace.step_logs WHERE run_id = \(runs[0]) AND key = 'many'
                """
            ) == "10000|10000|9999|What follows is not kept."
        )
    }
}
