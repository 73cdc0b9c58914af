import Foundation
import Millrace
import Testing

/// Random workflows, run by the engine, against what GitHub's documentation says becomes of each job.
@Suite("What GitHub would do")
struct GitHubSemanticsTests {
    private struct Job {
        var needs: [Int]
        var condition: String?
        var continues: Bool
        var fails: Bool
    }

    private enum Result: String {
        case success, failure, skipped
    }

    private static func jobs(_ random: inout Generator) -> [Job] {
        (0..<Int.random(in: 2...8, using: &random)).map { number in
            let needs = (0..<number).filter { _ in Int.random(in: 0..<100, using: &random) < 40 }
            var conditions: [String?] = [
                nil, nil, nil, "always()", "failure()", "success()", "!failure()", "!cancelled()",
            ]
            conditions += [
                "success() || failure()", "inputs.go == 'yes'", "inputs.go == 'no'", "always() && inputs.go == 'no'",
            ]
            if let need = needs.randomElement(using: &random) {
                for result in ["success", "failure", "skipped"] {
                    conditions.append("always() && needs.j\(need).result == '\(result)'")
                    conditions.append("!cancelled() && needs.j\(need).result != '\(result)'")
                }
                conditions.append(
                    "always() && (contains(needs.*.result, 'failure') || contains(needs.*.result, 'skipped'))"
                )
            }
            // What would never hold is refused.
            if needs.isEmpty { conditions.removeAll { $0 == "failure()" } }
            return Job(
                needs: needs,
                condition: conditions.randomElement(using: &random)!,
                continues: Int.random(in: 0..<5, using: &random) == 0,
                fails: Int.random(in: 0..<3, using: &random) == 0
            )
        }
    }

    private static func yaml(_ jobs: [Job]) -> String {
        (["jobs:"]
            + jobs.enumerated().map { number, job in
                "  j\(number): { runs-on: x, needs: [\(job.needs.map { "j\($0)" }.joined(separator: ", "))]"
                    + (job.condition.map { ", if: \(JSONValue.string($0).json)" } ?? "")
                    + (job.continues ? ", continue-on-error: true" : "") + ", steps: [] }"
            }).joined(separator: "\n")
    }

    /// What becomes of each job, with `inputs.go` being `yes`: the result that others see, and whether it really failed.
    private static func oracle(_ jobs: [Job]) -> [(seen: Result, failed: Bool)] {
        var ended: [(seen: Result, failed: Bool)] = []
        for job in jobs {
            var above = Set(job.needs)
            var open = job.needs
            while let next = open.popLast() {
                for further in jobs[next].needs where above.insert(further).inserted { open.append(further) }
            }
            let success = above.allSatisfy { ended[$0].seen == .success }
            let failure = above.contains { ended[$0].seen == .failure }
            let results = job.needs.map { ended[$0].seen }
            let runs: Bool
            switch job.condition {
            case nil, "success()", "inputs.go == 'yes'": runs = success
            case "always()", "!cancelled()": runs = true
            case "failure()": runs = failure
            case "!failure()": runs = !failure
            case "success() || failure()": runs = success || failure
            case "inputs.go == 'no'", "always() && inputs.go == 'no'": runs = false
            case let text? where text.contains("contains"): runs = results.contains { $0 != .success }
            case let text?:
                let match = text.firstMatch(of: /needs\.j([0-9]+)\.result (..) '([a-z]+)'/)!
                runs = (ended[Int(match.1)!].seen.rawValue == match.3) == (match.2 == "==")
            }
            let failed = runs && job.fails
            ended.append((!runs ? .skipped : failed && !job.continues ? .failure : .success, failed))
        }
        return ended
    }

    @Test("Random jobs, needs and conditions")
    func random() async throws {
        try await ImportServer.with { server in
            var runs = 0
            for seed in UInt64(1)...80 {
                var random = Generator(state: seed)
                let jobs = Self.jobs(&random)
                let yaml = Self.yaml(jobs)
                let imported: ImportedDefinition
                do {
                    imported = try Imports.read(yaml, .github) { $0.name = "seed-\(seed)" }
                } catch let error as MillraceError {
                    // Some conditions ask for what cannot come to be; that is said, and nothing else.
                    #expect(
                        error.detail?.split(separator: "\n").allSatisfy { $0.contains("It never holds") } == true,
                        "\(error)"
                    )
                    continue
                }
                runs += 1
                let failing = Set(jobs.indices.filter { jobs[$0].fails }.map { "j\($0)" })
                let ended = try await server.run(
                    imported,
                    input: .object(["inputs": .object(["go": .string("yes")])]),
                    failing: failing
                )
                for (number, expected) in Self.oracle(jobs).enumerated() {
                    let state = expected.seen == .skipped ? "skipped" : expected.failed ? "failed" : "completed"
                    #expect(ended.steps["j\(number)"] == state, "seed \(seed), j\(number)\n\(yaml)")
                }
                let fails = Self.oracle(jobs).contains { $0.seen == .failure }
                #expect(ended.state == (fails ? "failed" : "completed"), "seed \(seed)\n\(yaml)")
            }
            #expect(runs >= 40)
        }
    }
}
