import ArgumentParser
import Foundation
import Millrace

/// The files that steps have left behind.
struct Artifacts: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List and read the files that the steps of a run have left behind.",
        subcommands: [ListArtifacts.self, GetArtifact.self],
        defaultSubcommand: ListArtifacts.self
    )
}

struct ListArtifacts: RunCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List them.")

    @OptionGroup var subject: RunOptions

    @Argument(help: ArgumentHelp("Of this step alone.", valueName: "key"))
    var key: String?

    private struct Answer: Encodable { var artifacts: [Artifact] }

    func run() async throws {
        try await options.withClient { client in
            // A run or a step that is not there is an error, not an empty list.
            _ = try await client.run(runID)
            if let key { _ = try await client.output(of: key, run: runID) }
            let artifacts = try await client.artifacts(of: runID, key: key)
            options.output.answer(
                Answer(artifacts: artifacts),
                artifacts.isEmpty ? "There are no artifacts." : Self.table(artifacts).render(for: .output)
            )
        }
    }

    private static func table(_ artifacts: [Artifact]) -> Table {
        Table(
            columns: [
                .text("STEP", limit: 40), .text("NAME"), .text("TYPE", limit: 40), .number("BYTES"), .text("SHA-256"),
                .text("STORED"),
            ],
            rows: artifacts.map { artifact in
                [
                    artifact.key + (artifact.element.map { "[\($0)]" } ?? ""), artifact.name, artifact.contentType,
                    Spell.count(artifact.bytes), String(artifact.sha256.prefix(12)), Spell.time(artifact.storedAt),
                ]
            }
        )
    }
}
