import Foundation
import Millrace
import MillraceTestSupport
import Testing

/// Files that are not what they are said to be.
@Suite("Odd files")
struct OddFileTests {
    private static let formats = DefinitionFormat.allCases.filter { $0 != .millrace }

    @Test("Empty, broken and foreign files are refused with one error", arguments: formats)
    func odd(format: DefinitionFormat) throws {
        var texts = ["", "\n", "#"]
        // To a list of edges any line is one.
        if format != .csv, format != .tsv {
            texts += [
                "null", "[1, 2]", "{", "a: b: c", "hello", "{}", "jobs: {}", "%!PS", "kind: Workflow\nspec: {}",
                "digraph {",
            ]
            texts.append(String(repeating: "[", count: 3000))
            texts.append(String(repeating: "{\"a\":", count: 3000))
        }
        for text in texts {
            let error = #expect(throws: MillraceError.self, "\(text.prefix(40))") { try Imports.read(text, format) }
            #expect(error?.message.isEmpty == false)
        }
    }

    @Test("Files with a byte changed, cut or doubled are read or refused, and nothing else")
    func damaged() throws {
        let fixtures: [(String, DefinitionFormat)] = [
            ("release.yml", .github), ("ship.yml", .github), ("etl.yaml", .argo), ("map-reduce.yaml", .argo),
            ("manifest.json", .dbt), ("build.dot", .ninja), ("pipeline.dot", .dot), ("edges.csv", .csv),
            ("tasks.tsv", .tsv),
        ]
        for (name, format) in fixtures {
            let text = Array(try String(contentsOfFile: Imports.path(name), encoding: .utf8).unicodeScalars)
            for seed in UInt64(1)...40 {
                var random = Generator(state: seed)
                var damaged = text
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let place = Int.random(in: 0..<damaged.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: damaged.remove(at: place)
                    case 1: damaged[place] = "{}[]:,-\"'!&*|>%@#\n\t x0".unicodeScalars.randomElement(using: &random)!
                    case 2: damaged.insert(contentsOf: damaged[place..<min(place + 20, damaged.count)], at: place)
                    default: damaged.removeSubrange(place..<min(place + 30, damaged.count))
                    }
                }
                var result = String.UnicodeScalarView()
                result.append(contentsOf: damaged)
                do {
                    let imported = try Imports.read(String(result), format)
                    #expect(!imported.definition.steps.isEmpty, "\(name), seed \(seed)")
                } catch let error as MillraceError {
                    #expect(!error.message.isEmpty)
                }
            }
        }
    }

    @Test("Ten thousand jobs in a row, and rings, are what the server has to judge")
    func large() async throws {
        let jobs = (0..<10_000).map { "  j\($0): { runs-on: x, \($0 == 0 ? "" : "needs: j\($0 - 1), ")steps: [] }" }
        let tasks = (0..<10_000).map {
            "          - { name: j\($0), template: t\($0 == 0 ? "" : ", depends: j\($0 - 1)") }"
        }
        let argo = """
            kind: Workflow
            metadata: { name: argo }
            spec:
              entrypoint: m
              templates:
                - { name: t, container: { image: x } }
                - name: m
                  dag:
                    tasks:
            \(tasks.joined(separator: "\n"))
            """
        let ring = "jobs:\n  a: { needs: c }\n  b: { needs: a }\n  c: { needs: b, if: always() }"
        try await ImportServer.with { server in
            for (text, format) in [("jobs:\n" + jobs.joined(separator: "\n"), DefinitionFormat.github), (argo, .argo)] {
                let defined = try await server.client.define(try Imports.read(text, format).definition)
                #expect(defined.steps == 10_000 && defined.edges == 9_999)
            }
            let problems = try await server.client.validate(try Imports.read(ring, .github).definition)
            #expect(problems.map(\.code) == ["MR106"])
        }
    }
}
