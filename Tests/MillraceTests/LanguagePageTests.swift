import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

/// The page that explains the language shows whole definitions; the server takes each of them.
@Suite("The page about the language")
struct LanguagePageTests {
    private static let page = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../docs/language.md").standardizedFileURL

    /// The YAML blocks of the page.
    private static func examples() throws -> [String] {
        var examples: [String] = []
        var block: [Substring]?
        for line in try String(contentsOf: page, encoding: .utf8).split(
            separator: "\n",
            omittingEmptySubsequences: false
        ) {
            if line == "```yaml" {
                block = []
            } else if line == "```" {
                if let block { examples.append(block.joined(separator: "\n") + "\n") }
                block = nil
            } else {
                block?.append(line)
            }
        }
        return examples
    }

    @Test("Each example is a definition")
    func examples() async throws {
        let examples = try Self.examples()
        #expect(examples.count >= 8)
        try await PostgresCluster.with(.plain) { cluster in
            let database = try await cluster.createDatabase(extension: true)
            try await Pool.with(database) { pool in
                let client = Client(pool: pool)
                var names: Set<String> = []
                for text in examples {
                    let definition = try Fixture.withFile("example.yaml", text) { try WorkflowDefinition.load($0) }
                    let problems = try await client.validate(definition)
                    #expect(problems.isEmpty, "\(definition.name): \(problems.map(\.message))")
                    let defined = try await client.define(definition)
                    #expect(names.insert(defined.workflow).inserted, "\(defined.workflow) stands twice")
                }
            }
        }
    }
}
