import Foundation
import Millrace
import MillraceAgent
import MillraceTestSupport
import Testing

/// Templates and secrets of real steps, on a real server.
@Suite(.serialized) struct LateValuesTests {
    /// What a handler sees of its step.
    private static let mirror: Handlers = {
        var handlers = Handlers.standard
        handlers.register("mirror") { step in
            let settings = String(decoding: step.rawSettings ?? Array("null".utf8), as: UTF8.self)
            let input = String(decoding: step.rawInput ?? Array("null".utf8), as: UTF8.self)
            return .json(#"{"settings": \#(settings), "input": \#(input)}"#)
        }
        handlers.register("gossip") { step in
            struct Settings: Decodable { var token: String }
            throw HandlerError.fatal("the token is \(try step.settings(as: Settings.self).token)!")
        }
        return handlers
    }()

    @Test(arguments: PostgresCluster.Tier.allCases)
    func templatesAreRendered(_ tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(
            """
            [{"key": "a", "handler": "shell", "with": {"command": "echo '{\\"items\\": [{\\"name\\": \\"x\\"}, {\\"name\\": \\"y\\"}]}'"}},
             {"key": "b", "needs": ["a"], "handler": "mirror",
              "with": {"url": {"$template": "https://h/{{run.id}}?q={{run.q}}", "escape": "url"}, "id": {"$path": "$.run.id"}, "n": [1, {"$template": "{{size(needs.a.items)}}"}]},
              "input": {"text": {"$template": "{{#needs.a.items}}{{name}}{{^last()}}, {{/last()}}{{/needs.a.items}}"}, "q": "$.run.q"}},
             {"key": "c", "needs": ["b"], "handler": "sleep", "with": {"seconds": {"$path": "$.run.nap"}}}]
            """,
            input: #"{"id": 7, "q": "a b&{{run.id}}", "nap": 0.001}"#
        )
        try await fixture.with(fixture.agent(handlers: Self.mirror)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(
            try await fixture.step("output", "b", of: runs[0])
                == #"{"input": {"q": "a b&{{run.id}}", "text": "x, y"}, "settings": {"n": [1, "2"], "id": 7, "url": "https://h/7?q=a%20b%26%7B%7Brun.id%7D%7D"}}"#
        )
    }

    @Test func secretsComeFromTheirSourcesAndStayThere() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        let directory = FileManager.default.temporaryDirectory.appending(path: "secrets-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try Data("from-a-file\n".utf8).write(to: URL(filePath: "\(directory)/api.token"))
        setenv("MILLRACE_SECRET_API_KEY", "from-the-environment", 1)
        let runs = try await fixture.submit(
            """
            [{"key": "all", "handler": "mirror", "with": {"file": "secret://api.token", "command": "secret://other", "plain": "secrets://x",
              "header": {"$template": "Bearer {{key}} of {{run.user}}", "data": {"key": "secret://api-key"}}}},
             {"key": "length", "handler": "shell", "with": {"command": ["sh", "-c", "printf %s \\"$TOKEN\\" | wc -c"], "environment": {"TOKEN": "secret://api.token"}}},
             {"key": "told", "handler": "gossip", "with": {"token": "secret://api.token"}},
             {"key": "stderr", "handler": "shell", "with": {"command": ["sh", "-c", "echo $TOKEN >&2; exit 1"], "environment": {"TOKEN": "secret://api.token"}}},
             {"key": "missing", "handler": "noop-like", "with": {"token": "secret://nowhere"}}]
            """,
            input: #"{"user": "secret://api.token"}"#
        )
        var handlers = Self.mirror
        handlers.register("noop-like") { _ in .none }
        let agent = fixture.agent(handlers: handlers) {
            $0.secrets.directory = directory
            $0.secrets.command = ["/bin/sh", "-c", #"test "$1" = other && echo from-a-command"#, "sh"]
        }
        try await fixture.with(agent) { _ in try await fixture.eventuallyEnds(runs, as: "failed") }
        // They reached the handler, as the length shows; what it said of them did not reach the database.
        #expect(
            try await fixture.step("output -> 'settings'", "all", of: runs[0])
                == #"{"file": "[secret]", "plain": "secrets://x", "header": "Bearer [secret] of secret://api.token", "command": "[secret]"}"#
        )
        #expect(try await fixture.step("output", "length", of: runs[0]) == "11")
        #expect(try await fixture.step("error", "told", of: runs[0]) == "the token is [secret]!")
        #expect(try await fixture.step("error", "stderr", of: runs[0]).contains("[secret]"))
        #expect(try await fixture.step("error", "missing", of: runs[0]).contains("There is no secret nowhere"))
        #expect(try await fixture.step("attempts", "missing", of: runs[0]) == "1")
        let dump = try await fixture.psql(
            "SELECT string_agg(o::text, '') || (SELECT string_agg(s::text, '') FROM millrace_internal.step s) || (SELECT string_agg(e::text, '') FROM millrace_internal.event e) FROM millrace_internal.output o"
        )
        for secret in ["from-a-file", "from-the-environment", "from-a-command"] { #expect(!dump.contains(secret)) }
    }
}
