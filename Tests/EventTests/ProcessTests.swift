import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

@Suite(.serialized) struct ProcessTests {
    private func program(_ fixture: EventFixture, _ arguments: String..., environment: [String: String] = [:]) throws -> Program {
        let url = fixture.cluster.url(database: fixture.database.database ?? "")
        return try Program("millrace", arguments, ["MILLRACE_DATABASE_URL": url].merging(environment) { $1 })
    }

    private func run(_ fixture: EventFixture, _ arguments: String...) async throws -> Program {
        let url = fixture.cluster.url(database: fixture.database.database ?? "")
        let program = try Program("millrace", arguments, ["MILLRACE_DATABASE_URL": url])
        #expect(try await program.end() == 0, "\(program.errors)")
        return program
    }

    @Test func subscriptionsFromTheCommandLine() async throws {
        let fixture = try await EventFixture(.dispatcher)
        try await fixture.submit(3)
        #expect(try await run(fixture, "events", "subscribe", "audit", "--from", "beginning", "--json").output.contains(#""created":true"#))
        #expect(try await run(fixture, "events", "subscribe", "audit", "--json").output.contains(#""created":false"#))
        let list = try await run(fixture, "events", "list", "--json").output
        #expect(list.contains(#""name":"audit""#) && list.contains(#""lag_events":3"#))
        #expect(try await run(fixture, "events", "list").output.contains("audit"))
        _ = try await run(fixture, "events", "unsubscribe", "audit")
        let tail = try await run(fixture, "events", "tail", "--from", "beginning", "--limit", "2").output
        #expect(tail.split(separator: "\n").count == 2 && tail.contains("millrace.run_submitted"))
        // It took its subscription with it.
        #expect(try await fixture.psql("SELECT string_agg(name, ',') FROM millrace.subscriptions") == "s")

        let unknown = try program(fixture, "events", "publish", "nobody", "--to", "-")
        #expect(try await unknown.end() == 2)
        #expect(unknown.errors.contains("nobody"))
    }

    @Test func publishedToStandardOutput() async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(5)
        let publisher = try program(fixture, "events", "publish", "s", "--to", "-", "--source", "/here")
        try await eventually("the lines are there: \(publisher.errors)") { publisher.output.split(separator: "\n").count == 5 }
        publisher.send(SIGTERM)
        #expect(try await publisher.end() == 0, "\(publisher.errors)")
        try await fixture.eventuallyStored()
        let ids = try publisher.output.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            #expect(object["specversion"] as? String == "1.0" && object["source"] as? String == "/here")
            return try Receiver.event(object).id
        }
        #expect(ids == (try await fixture.ids()))
    }

    @Test func anAgentPublishesBesideItsWork() async throws {
        let fixture = try await EventFixture(.dispatcher)
        try await Receiver.use { receiver in
            let agent = try program(
                fixture, "agent", "--publish", "s", "--publish-to", receiver.url,
                environment: ["MILLRACE_PUBLISH_AUTHORIZATION": "Bearer token", "MILLRACE_PUBLISH_KINDS": "run_completed"]
            )
            try await fixture.submit(5)
            try await eventually("the runs' ends arrive: \(agent.errors)") { receiver.ids.count == 5 }
            #expect(receiver.headers["authorization"] == "Bearer token")
            // Work goes on where the sink refuses for good.
            receiver.answer(.status(404))
            try await fixture.submit(1)
            try await eventually("publishing ends") { agent.errors.contains("answered 404") }
            try await fixture.submit(3)
            try await eventually("the runs complete") {
                try await fixture.psql("SELECT count(*) FROM millrace.runs WHERE state = 'completed'") == "9"
            }
            agent.send(SIGTERM)
            #expect(try await agent.end() == 0)
            #expect(!agent.errors.contains("token"))
        }
    }
}
