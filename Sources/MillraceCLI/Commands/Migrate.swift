import ArgumentParser
import Millrace

struct Migrate: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Move a run to another version of its workflow.",
        discussion: """
            What has begun must mean the same there; pending steps may change in any way. With --dry-run nothing is \
            changed, and the command ends with 1 where something is not allowed.
            """
    )

    @OptionGroup var subject: RunOptions

    @Option(help: "The version; the latest where left out.")
    var to: Int?

    @Flag(help: "Only show what would change.")
    var dryRun = false

    private struct Answer: Encodable {
        var runId: Int64
        var dryRun: Bool
        var changes: [MigrationChange]
    }

    func run() async throws {
        let changes = try await options.withClient { client in
            try await client.migrate(runID, to: to, dryRun: dryRun)
        }
        let table = Table(
            columns: [
                .text("STEP"), .state("STATE"), .text("CHANGE"), .text("OLD", limit: 40), .text("NEW", limit: 40),
                .text(""),
            ],
            rows: changes.map {
                [
                    $0.key ?? "", $0.state ?? "", $0.change, $0.old?.json ?? "", $0.new?.json ?? "",
                    $0.isAllowed ? "" : "not allowed",
                ]
            }
        )
        options.output.answer(
            Answer(runId: runID, dryRun: dryRun, changes: changes),
            changes.isEmpty ? "Nothing changes." : table.render(for: options.output.terminal)
        )
        if dryRun, !changes.allSatisfy(\.isAllowed) { throw ExitStatus.failed }
    }
}
