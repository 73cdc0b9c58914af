import Foundation
import Millrace
import MillraceAgent
import MillraceTestSupport
import Testing

/// Outputs that are too large for the database, on a real server.
@Suite(.serialized) struct OutputStoreTests {
    private static let handlers: Handlers = {
        var handlers = Handlers.standard
        handlers.register("large") { step in
            .json(#"{"text": "\#(String(repeating: "x", count: 2_000_000))"}"#)
        }
        handlers.register("size") { step in
            struct Input: Decodable {
                struct Large: Decodable { var text: String }
                var needs: [String: Large]
                var run: [String: String]
            }
            let input: Input = try step.input()
            return .json(#"{"size": \#(input.needs["a"]?.text.count ?? 0), "forged": \#(quoted(input.run["$ref"] ?? ""))}"#)
        }
        return handlers
    }()

    private static let steps = #"[{"key": "a", "handler": "large"}, {"key": "b", "needs": ["a"], "handler": "size"}]"#

    @Test(arguments: PostgresCluster.Tier.allCases)
    func aDirectoryKeepsLargeOutputs(_ tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let directory = FileManager.default.temporaryDirectory.appending(path: "outputs-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        // What only looks like a reference stays as it is.
        let runs = try await fixture.submit(Self.steps, input: #"{"$ref": "../../etc/passwd", "bytes": "1"}"#)
        let agent = fixture.agent(handlers: Self.handlers) { $0.outputs.store = directory.absoluteString }
        try await fixture.with(agent) { _ in try await fixture.eventuallyEnds(runs, as: "completed") }
        #expect(
            try await fixture.step("output", "b", of: runs[0]) == #"{"size": 2000000, "forged": "../../etc/passwd"}"#
        )
        let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(files.count == 1)
        #expect(try await fixture.step("output ->> '$ref'", "a", of: runs[0]) == files.first)
        #expect(try await fixture.step("output ->> 'bytes'", "a", of: runs[0]) == "2000012")
    }

    @Test func anHTTPServerKeepsLargeOutputs() async throws {
        try await TestStore.use { store, url in
            let fixture = try await AgentFixture(.dispatcher)
            let runs = try await fixture.submit(Self.steps)
            let agent = fixture.agent(handlers: Self.handlers) { $0.outputs.store = url }
            try await fixture.with(agent) { _ in try await fixture.eventuallyEnds(runs, as: "completed") }
            #expect(try await fixture.step("output ->> 'size'", "b", of: runs[0]) == "2000000")
            #expect(store.sizes.count == 1)
        }
    }

    @Test func whatTheStoreDoesNotHaveFailsTheStep() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        let runs = try await fixture.submit(
            #"[{"key": "b", "handler": "size", "input": {"run": {}, "needs": {"a": "$.run"}}}]"#,
            input: #"{"$ref": "1-2-3-00000000-0000-0000-0000-000000000000.json", "bytes": 5}"#
        )
        let agent = fixture.agent(handlers: Self.handlers) { $0.outputs.store = "file:///nowhere" }
        try await fixture.with(agent) { _ in try await fixture.eventuallyEnds(runs, as: "failed") }
        #expect(try await fixture.step("error_class", "b", of: runs[0]) == "store")
    }
}
