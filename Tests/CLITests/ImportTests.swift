import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

/// Files that become several workflows.
@Suite("Importing from the command line")
struct ImportTests {
    private func withProgram(_ body: (Program, PostgresCluster) async throws -> Void) async throws {
        try await PostgresCluster.with(.plain) { cluster in
            _ = try await cluster.createDatabase("work", extension: true)
            let program = try Program(database: cluster.url(database: "work"))
            let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../MillraceTests/Fixtures").standardizedFileURL
            for name in ["ship.yml", "build-one.yml", "map-reduce.yaml"] {
                try program.write(name, try String(contentsOf: fixtures.appending(path: name), encoding: .utf8))
            }
            try await body(program, cluster)
        }
    }

    @Test("All of its workflows are stored, or none")
    func stored() async throws {
        try await withProgram { program, cluster in
            let told = try await program("import", "--format", "github", "ship.yml")
            #expect(told.status == 0, "\(told.errors)")
            #expect(told.output.contains("ship.build-one version 1: 2 steps, 1 edge"))
            #expect(told.output.contains("ship version 1: 6 steps, "))
            let again = try await program("import", "--format", "github", "ship.yml", "--json").json
            #expect(again["workflow"] == "ship" && again["version"] == 1)
            guard case .array(let children) = again["children"] else { throw TestSupportError("no children") }
            #expect(children.map { $0["workflow"] } == ["ship.build-one"])
            let printed = try await program("import", "--format", "github", "ship.yml", "--print")
            #expect(printed.output.split(separator: "\n").count == 2)

            // The server refuses the workflow, and what it calls goes with it.
            try program.write(
                "other.yml",
                "jobs: { a: { uses: ./build-one.yml, with: { target: x } }, b: { needs: c }, c: { needs: b } }"
            )
            let ring = try await program("import", "--format", "github", "other.yml")
            #expect(ring.status != 0 && ring.errors.contains("in a ring"), "\(ring.errors)")
            let names = try await cluster.psql(
                "select string_agg(workflow, ' ' order by workflow) from millrace.workflows",
                database: "work"
            )
            #expect(names.contains("ship ship.build-one") && !names.contains("other"))
        }
    }

    @Test("They take the paths that GitHub and Argo would take")
    func rehearsed() async throws {
        try await withProgram { program, _ in
            try program.write(
                "ship-mocks.yaml",
                """
                input: { github: { ref: refs/heads/main } }
                steps:
                  meta: { output: { channel: beta } }
                  ship.build-one/compile: { output: { file: all.tar } }
                expect:
                  run: completed
                  steps: { "build (linux)": completed, sign: { state: completed, output: { file: all.tar } }, publish: completed, sorry: skipped }
                """
            )
            let ship = try await program("test", "ship.yml", "--format", "github", "--mocks", "ship-mocks.yaml")
            #expect(ship.status == 0, "\(ship.output)\n\(ship.errors)")
            #expect(ship.output.contains("ship.build-one/notes"))
            try program.write(
                "reduce-mocks.yaml",
                """
                input: { mode: light, parts: [] }
                steps:
                  split: { output: { result: [{ file: big }, { file: small }] } }
                  map-reduce.part/sum: { output: { result: 7 } }
                  probe: { error: gone, outcome: fatal }
                expect:
                  run: completed
                  steps:
                    map: { state: completed, output: [{ parameters: { sum: 7 } }, { parameters: { sum: 7 } }] }
                    reduce: { state: completed, input: { sums: [7, 7] } }
                    check: completed
                    probe: failed
                    fallback: completed
                    onExit: completed
                """
            )
            let reduce = try await program(
                "test",
                "map-reduce.yaml",
                "--format",
                "argo",
                "--mocks",
                "reduce-mocks.yaml"
            )
            #expect(reduce.status == 0, "\(reduce.output)\n\(reduce.errors)")
        }
    }
}
