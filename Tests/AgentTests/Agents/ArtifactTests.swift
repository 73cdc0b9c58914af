import Foundation
import Millrace
import MillraceAgent
import MillraceTestSupport
import Testing

/// Files that steps leave behind, on real servers.
@Suite(.serialized) struct ArtifactTests {
    /// What a run has: step, name, type, size, hand-out, parts, and whether the bytes are what the checksum says.
    private func artifacts(_ run: Int64, _ fixture: AgentFixture) async throws -> [String] {
        try await fixture.psql(
            """
            SELECT concat_ws(' ', a.key, a.name, a.content_type, a.bytes, '#' || a.token, a.parts,
                             encode(sha256(p.whole), 'hex') = a.sha256 AND octet_length(p.whole) = a.bytes)
            FROM millrace.artifacts a, LATERAL (
                SELECT string_agg(millrace.read_artifact(a.run_id, a.step_no, a.artifact_no, n), '' ORDER BY n)
                FROM generate_series(1, a.parts) n) p (whole)
            WHERE a.run_id = \(run) ORDER BY a.step_no, a.name
            """
        ).split(separator: "\n").map(String.init)
    }

    /// Bytes that differ from place to place.
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
    }

    // MARK: Programs

    @Test(arguments: PostgresCluster.Tier.allCases)
    func programsLeaveFilesWhetherTheySucceedOrFail(_ tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let sign = FileManager.default.temporaryDirectory.appending(path: "millrace-\(UUID()).tried")
        defer { try? FileManager.default.removeItem(at: sign) }
        let runs = try await fixture.submit(
            #"""
            [{"key": "made", "handler": "shell", "with": {"command":
                "cd $MILLRACE_ARTIFACTS && echo well > report.txt && head -c 600000 /dev/zero > large.bin && : > none.json && touch .hidden && mkdir folder && ln -s /etc/passwd link.txt; echo $MILLRACE_ARTIFACTS"}},
             {"key": "tried", "handler": "shell", "retry": {"limit": 1, "backoff": 0}, "with": {"command":
                "cd $MILLRACE_ARTIFACTS && if test -e $0; then echo second > trace.log; exit 0; fi; touch $0; echo first > trace.log; echo gone > first.txt; exit 3"}}]
            """#.replacing("$0", with: sign.path)
        )
        try await fixture.with(fixture.agent()) { _ in try await fixture.eventuallyEnds(runs, as: "completed") }
        #expect(
            try await artifacts(runs[0], fixture) == [
                "made large.bin application/octet-stream 600000 #1 3 t", "made none.json application/json 0 #1 1 t",
                "made report.txt text/plain 5 #1 1 t", "tried first.txt text/plain 5 #1 1 t",
                "tried trace.log text/plain 7 #2 1 t",
            ]
        )
        let left = try await fixture.psql(
            """
            SELECT string_agg(split_part(line, ' ', 1), ' ' ORDER BY line_no) FROM millrace.step_logs
            WHERE run_id = \(runs[0]) AND key = 'made' AND line LIKE '% is not kept: %'
            """
        )
        #expect(left == ".hidden folder link.txt")
        let directory = try await fixture.step("trim(output ->> 'stdout', E'\\n')", "made", of: runs[0])
        #expect(directory.contains("millrace-\(runs[0])-1-1-"))
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test func aProgramWhoseFilesCannotBeKeptFails() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        try await fixture.psql(
            "ALTER DATABASE \"\(fixture.database.database ?? "")\" SET millrace.max_artifact_size = '1kB'"
        )
        let runs = try await fixture.submit(
            #"""
            [{"key": "large", "handler": "shell", "retry": {"limit": 5}, "with": {"command": "head -c 1025 /dev/zero > $MILLRACE_ARTIFACTS/large.bin"}},
             {"key": "broken", "handler": "shell", "with": {"command": "head -c 1025 /dev/zero > $MILLRACE_ARTIFACTS/large.bin; exit 3"}}]
            """#
        )
        try await fixture.with(fixture.agent()) { _ in try await fixture.eventuallyEnds(runs, as: "failed") }
        #expect(try await fixture.step("error_class || ' ' || attempts", "large", of: runs[0]) == "artifact 1")
        #expect(try await fixture.step("error", "large", of: runs[0]).contains("millrace.max_artifact_size"))
        // What the program itself says counts for more.
        #expect(try await fixture.step("error_class", "broken", of: runs[0]) == "exit:3")
        #expect(try await artifacts(runs[0], fixture) == [])
    }

    // MARK: Swift

    private static let handlers: Handlers = {
        var handlers = Handlers.standard
        handlers.register("make") { step in
            let chunks = AsyncStream<ArraySlice<UInt8>> { stream in
                var rest = pattern(700_000)[...]
                // Of odd sizes, some of them empty, one larger than a part.
                for size in [1, 0, 400_000, 7, 99_991] {
                    stream.yield(rest.prefix(size))
                    rest = rest.dropFirst(size)
                }
                stream.yield(rest)
                stream.finish()
            }
            let stored = try await step.store(artifact: "made.bin", type: "application/x-made", chunks)
            try await step.store(artifact: "small.txt", bytes: Array("small".utf8))
            try await step.store(artifact: "small.txt", bytes: Array("smaller".utf8))
            return try .encoding(stored)
        }
        handlers.register("use") { step in
            var bytes: [UInt8] = []
            let made = try await step.artifact("made.bin", of: "make")
            for try await piece in made { bytes += piece }
            var small: [UInt8] = []
            for try await piece in try await step.artifact("small.txt", of: "make") { small += piece }
            guard bytes == pattern(700_000), made.bytes == 700_000 else { throw HandlerError.fatal("other bytes") }
            do {
                _ = try await step.artifact("none", of: "make")
            } catch let error as MillraceError where error.code == .unknownArtifact {
                return try .encoding(String(decoding: small, as: UTF8.self))
            }
            return .none
        }
        return handlers
    }()

    private static let steps = #"[{"key": "make", "handler": "make"}, {"key": "use", "needs": ["make"], "handler": "use"}]"#

    @Test(arguments: PostgresCluster.Tier.allCases)
    func aLaterStepReadsWhatAHandlerHasStored(_ tier: PostgresCluster.Tier) async throws {
        let fixture = try await AgentFixture(tier)
        let runs = try await fixture.submit(Self.steps)
        try await fixture.with(fixture.agent(handlers: Self.handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "completed")
        }
        #expect(
            try await artifacts(runs[0], fixture) == [
                "make made.bin application/x-made 700000 #1 3 t", "make small.txt text/plain 7 #1 1 t",
            ]
        )
        #expect(try await fixture.step("output", "use", of: runs[0]) == #""smaller""#)
        #expect(
            try await fixture.psql(
                """
                SELECT s.output ->> 'sha256' = a.sha256 FROM millrace.steps s JOIN millrace.artifacts a USING (run_id, step_no)
                WHERE run_id = \(runs[0]) AND name = 'made.bin'
                """
            ) == "t"
        )
        // Nothing is left of what was replaced.
        #expect(try await fixture.psql("SELECT count(*) FROM millrace_internal.artifact_part") == "4")
    }

    @Test func whatIsNeverCompleteIsNeverSeen() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        let runs = try await fixture.submit(
            #"[{"key": "a", "handler": "breaks", "retry": {"limit": 1, "backoff": 0}}, {"key": "name", "handler": "misnames"}]"#
        )
        var handlers = Handlers.standard
        handlers.register("breaks") { step in
            let chunks = AsyncThrowingStream<[UInt8], any Error> { stream in
                stream.yield(Self.pattern(600_000))
                stream.finish(throwing: step.attempt == 1 ? HandlerError.retriable("broken off") : nil)
            }
            try await step.store(artifact: "a.bin", chunks)
            return .none
        }
        handlers.register("misnames") { step in
            try await step.store(artifact: "../up", bytes: [])
            return .none
        }
        try await fixture.with(fixture.agent(handlers: handlers)) { _ in
            try await fixture.eventuallyEnds(runs, as: "failed")
        }
        #expect(try await artifacts(runs[0], fixture) == ["a a.bin application/octet-stream 600000 #2 3 t"])
        #expect(try await fixture.psql("SELECT count(*) FROM millrace_internal.artifact_upload") == "0")
        #expect(try await fixture.step("error_class || ' ' || attempts", "name", of: runs[0]) == "artifact 1")
    }

    // MARK: Requests

    @Test func aResponseIsKept() async throws {
        let fixture = try await AgentFixture(.dispatcher)
        try await MoodyServer.use { url in
            let runs = try await fixture.submit(
                #"""
                [{"key": "page", "handler": "http", "with": {"url": "\#(url)/text", "method": "GET", "artifact": "page.html"}},
                 {"key": "missing", "handler": "http", "with": {"url": "\#(url)/status/404", "artifact": "page.html"}}]
                """#
            )
            try await fixture.with(fixture.agent()) { _ in try await fixture.eventuallyEnds(runs, as: "failed") }
            let kept = try await artifacts(runs[0], fixture)
            #expect(kept.count == 1)
            #expect(kept.first?.hasPrefix("page page.html text/plain") == true)
            #expect(kept.first?.hasSuffix(" 5 #1 1 t") == true)
            #expect(
                try await fixture.step("output - 'sha256'", "page", of: runs[0])
                    == #"{"bytes": 5, "status": 200, "artifact": "page.html"}"#
            )
            #expect(try await fixture.step("error_class", "missing", of: runs[0]) == "http:404")
        }
    }

    // MARK: The store

    private func references(_ run: Int64, _ fixture: AgentFixture) async throws -> String {
        try await fixture.psql(
            """
            SELECT string_agg(concat_ws(' ', name, bytes, parts, place IS NOT NULL), ', ' ORDER BY name)
            FROM millrace.artifacts WHERE run_id = \(run)
            """
        )
    }

    @Test func aDirectoryKeepsLargeOnes() async throws {
        let fixture = try await AgentFixture(.plain)
        let directory = FileManager.default.temporaryDirectory.appending(path: "artifacts-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let runs = try await fixture.submit(Self.steps)
        let agent = fixture.agent(handlers: Self.handlers) { $0.outputs.store = directory.absoluteString }
        try await fixture.with(agent) { _ in try await fixture.eventuallyEnds(runs, as: "completed") }
        #expect(try await references(runs[0], fixture) == "made.bin 700000 0 t, small.txt 7 1 f")
        let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        let place = try await fixture.psql("SELECT place FROM millrace.artifacts WHERE name = 'made.bin'")
        #expect(files == [place])
    }

    @Test func anHTTPServerKeepsLargeOnes() async throws {
        try await TestStore.use { store, url in
            let fixture = try await AgentFixture(.dispatcher)
            let runs = try await fixture.submit(Self.steps)
            let agent = fixture.agent(handlers: Self.handlers) { $0.outputs.store = url }
            try await fixture.with(agent) { _ in try await fixture.eventuallyEnds(runs, as: "completed") }
            #expect(try await references(runs[0], fixture) == "made.bin 700000 0 t, small.txt 7 1 f")
            #expect(store.sizes == [700_000])
        }
    }
}
