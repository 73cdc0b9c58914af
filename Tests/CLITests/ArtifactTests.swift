import Foundation
import Millrace
import MillraceTestSupport
import Testing

@Suite("Files that steps leave behind")
struct ArtifactTests {
    /// A program on a database of its own.
    private func withProgram(
        _ tier: PostgresCluster.Tier,
        _ body: (Program, PostgresCluster) async throws -> Void
    ) async throws {
        try await PostgresCluster.with(tier) { cluster in
            _ = try await cluster.createDatabase("work", extension: true)
            try await body(try Program(database: cluster.url(database: "work")), cluster)
        }
    }

    private func id(_ answer: Program.Answer) throws -> Int64 {
        guard case .integer(let id) = try answer.json["run_id"] else { throw TestSupportError("no id") }
        return id
    }

    @Test("Listed and read", arguments: PostgresCluster.Tier.allCases)
    func listedAndRead(tier: PostgresCluster.Tier) async throws {
        try await withProgram(tier) { program, cluster in
            try program.write(
                "make.yaml",
                """
                workflow: make
                steps:
                  - key: made
                    handler: shell
                    with: { command: "cd $MILLRACE_ARTIFACTS && echo well > report.txt && seq 1 100000 > numbers.txt" }
                  - key: each
                    for_each: [a, b]
                    handler: shell
                    input: $.element
                    with: { command: "cat > $MILLRACE_ARTIFACTS/element.json" }
                """
            )
            let run = try id(await program("run", "make.yaml", "--json"))
            let listed = try await program("artifacts", "\(run)")
            #expect(listed.status == 0, "\(listed.errors)")
            #expect(listed.output.contains("each[1]"))
            #expect(listed.output.contains("588,895"))
            guard case .array(let rows) = try await program("artifacts", "\(run)", "made", "--json").json["artifacts"]
            else { throw TestSupportError("no rows") }
            #expect(rows.count == 2)

            let got = try await program("artifacts", "get", "\(run)", "made", "numbers.txt")
            #expect(got.status == 0, "\(got.errors)")
            let numbers = (1...100_000).map { "\($0)\n" }.joined()
            let file = program.directory.appending(path: "numbers.txt")
            #expect(try String(contentsOf: file, encoding: .utf8) == numbers)
            let other = try await program("artifacts", "get", "\(run)", "made", "report.txt", "-o", "other.txt", "--json")
            #expect(try other.json["file"] == .string("other.txt"))
            let printed = try await program("artifacts", "get", "\(run)", "made", "report.txt", "-o", "-")
            #expect(printed.output == "well\n")
            let element = try await program("artifacts", "get", "\(run)", "each", "element.json", "--element", "1", "-o", "-")
            #expect(element.output == #""b""#)

            #expect(try await program("artifacts", "get", "\(run)", "each", "element.json").errors.contains("--element"))
            #expect(try await program("artifacts", "get", "\(run)", "made", "none").status == 2)
            #expect(try await program("artifacts", "\(run)", "nobody").status == 2)
            #expect(try await program("artifacts", "4711").status == 2)

            // Bytes that have changed are not taken for the file.
            _ = try await cluster.psql(
                "UPDATE millrace_internal.artifact_part SET part = overlay(part placing 'X' from 1) WHERE part_no = 2",
                database: "work"
            )
            let damaged = try await program("artifacts", "get", "\(run)", "made", "numbers.txt", "-o", "damaged.txt")
            #expect(damaged.status != 0)
            #expect(damaged.errors.contains("is not what its checksum says"))
            let files = try FileManager.default.contentsOfDirectory(atPath: program.directory.path)
            #expect(!files.contains { $0.hasPrefix("damaged") })
        }
    }

    @Test("Nothing is seen of what a killed agent was storing", arguments: PostgresCluster.Tier.allCases)
    func killed(tier: PostgresCluster.Tier) async throws {
        try await withProgram(tier) { program, cluster in
            func psql(_ sql: String) async throws -> String {
                try await cluster.psql(sql, database: "work").trimmingCharacters(in: .whitespacesAndNewlines)
            }
            try program.write(
                "large.yaml",
                """
                workflow: large
                steps:
                  - key: made
                    handler: shell
                    with: { command: "seq 1 200000 > $MILLRACE_ARTIFACTS/numbers.txt" }
                """
            )
            _ = try await program("define", "large.yaml")
            // The third part does not arrive.
            _ = try await psql(
                """
                CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN new; END';
                CREATE TRIGGER stays BEFORE INSERT ON millrace_internal.artifact_part FOR EACH ROW WHEN (new.part_no = 3) EXECUTE FUNCTION stays();
                """
            )
            let run = try id(await program("submit", "large", "--json"))
            let first = try program.process([Program.path, "agent"])
            try await eventually("the third part is on its way") {
                try await psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
            }
            first.send(SIGKILL)
            _ = try await first.answer
            _ = try await psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            #expect(try await psql("SELECT count(*), max(part_no) FROM millrace_internal.artifact_part") == "2|2")
            #expect(try await program("artifacts", "\(run)").output.contains("There are no artifacts"))

            // As if the time of its lease had passed.
            _ = try await psql(
                """
                DROP TRIGGER stays ON millrace_internal.artifact_part;
                UPDATE millrace_internal.agent SET lease_expires_at = now() - interval '1 s'
                """
            )
            let second = try program.process([Program.path, "agent"])
            #expect(try await program("watch", "\(run)").status == 0)
            second.send(SIGTERM)
            #expect(try await second.answer.status == 0)
            #expect(
                try await psql(
                    """
                    SELECT a.token, a.bytes, count(p.*), (SELECT count(*) FROM millrace_internal.artifact_upload)
                    FROM millrace.artifacts a JOIN millrace_internal.artifact_part p USING (run_id)
                    GROUP BY 1, 2
                    """
                ) == "2|1288895|5|0"
            )
        }
    }
}
