import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

/// `millrace …` in a process of its own, beside the tests.
private final class Program: @unchecked Sendable {
    // Unchecked: the process is only asked for its number and its end, which Foundation allows from any thread.
    private let process = Process()
    private let file = FileManager.default.temporaryDirectory.appending(path: "millrace-\(UUID().uuidString)")

    init(_ arguments: [String], _ environment: [String: String] = [:]) throws {
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "millrace")
        process.arguments = arguments
        process.environment = ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }
        _ = FileManager.default.createFile(atPath: file.path + ".out", contents: nil)
        _ = FileManager.default.createFile(atPath: file.path + ".err", contents: nil)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: file.path + ".out")
        process.standardError = FileHandle(forWritingAtPath: file.path + ".err")
        try process.run()
    }

    deinit {
        send(SIGKILL)
        for suffix in [".out", ".err"] { try? FileManager.default.removeItem(atPath: file.path + suffix) }
    }

    var output: String { (try? String(contentsOfFile: file.path + ".out", encoding: .utf8)) ?? "" }
    var errors: String { (try? String(contentsOfFile: file.path + ".err", encoding: .utf8)) ?? "" }
    var isRunning: Bool { process.isRunning }

    func send(_ signal: Int32) {
        if process.isRunning { kill(process.processIdentifier, signal) }
    }

    /// Waits for the end; answers the exit code.
    func end() async throws -> Int32 {
        try await eventually("the program ends: \(errors)") { !process.isRunning }
        return process.terminationStatus
    }
}

@Suite(.serialized) struct ProcessTests {
    private func program(_ fixture: EventFixture, _ arguments: String..., environment: [String: String] = [:]) throws -> Program {
        let url = fixture.cluster.url(database: fixture.database.database ?? "")
        return try Program(arguments, ["MILLRACE_DATABASE_URL": url].merging(environment) { $1 })
    }

    private func run(_ fixture: EventFixture, _ arguments: String...) async throws -> Program {
        let url = fixture.cluster.url(database: fixture.database.database ?? "")
        let program = try Program(arguments, ["MILLRACE_DATABASE_URL": url])
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

    /// Publisher, sink and server are killed in turn while workflows run: nothing is lost, and once repeats are left out
    /// each run's events come in order.
    @Test(arguments: PostgresCluster.Tier.allCases) func killedInTurn(tier: PostgresCluster.Tier) async throws {
        try await PostgresCluster.with(tier) { cluster in
            let fixture = try await EventFixture(in: cluster)
            let steps = (1...5).map { #"{"key": "s\#($0)", "handler": "noop", "needs": [\#($0 == 1 ? "" : "\"s\($0 - 1)\"")], "retry": {"limit": 5, "backoff": 0}}"# }
            try await fixture.psql("SELECT FROM millrace.define_workflow('{\"workflow\": \"chain\", \"steps\": [\(steps.joined(separator: ","))]}')")
            try await Receiver.use { receiver in
                let agent = try program(fixture, "agent", environment: ["MILLRACE_AGENT_RECONNECT_MAX": "200ms"])
                func publish() throws -> Program {
                    try program(fixture, "events", "publish", "s", "--to", receiver.url, "--batch", "50", "--log-level", "error")
                }
                var publisher = try publish()
                for round in 0..<6 {
                    try await fixture.submit(40, "'chain'")
                    try await eventually("events arrive: \(publisher.errors)") { receiver.ids.count > round * 400 }
                    switch round % 3 {
                    case 0:
                        publisher.send(SIGKILL)
                        _ = try await publisher.end()
                        publisher = try publish()
                    case 1:
                        await receiver.stop()
                        try await fixture.submit(5, "'chain'")
                        try await receiver.start()
                    default:
                        try await cluster.restart(.immediate)
                    }
                }
                try await eventually("all runs complete", within: .seconds(60)) {
                    try await fixture.psql("SELECT count(*) FROM millrace.runs WHERE state = 'completed'") == "250"
                }
                let ids = try await fixture.ids()
                try await eventually("all events arrive", within: .seconds(60)) { Set(receiver.ids).count >= ids.count }
                publisher.send(SIGTERM)
                #expect(try await publisher.end() == 0, "\(publisher.errors)")
                agent.send(SIGTERM)
                _ = try await agent.end()

                #expect(Set(receiver.ids).isSuperset(of: ids))
                var seen: Set<Int64> = []
                var last: [Int64: Int64] = [:]
                for event in receiver.received where seen.insert(event.id).inserted {
                    #expect(event.id > last[event.run, default: 0], "run \(event.run)")
                    last[event.run] = event.id
                }
            }
        }
    }
}
