import ArgumentParser
import Millrace

struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what differs between two versions of a workflow."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument var workflow: String

    @Argument(help: "A version of it.")
    var from: Int

    @Argument(help: "Another one; the latest where left out.")
    var to: Int?

    private struct Answer: Encodable { var changes: [VersionChange] }

    func run() async throws {
        try await options.withClient { client in
            let changes = try await client.difference(of: workflow, from: from, to: to)
            let table = Table(
                columns: [.text("STEP"), .text("CHANGE"), .text("OLD"), .text("NEW")],
                rows: changes.map { [$0.key ?? "", $0.change, $0.old?.json ?? "", $0.new?.json ?? ""] }
            )
            options.output.answer(
                Answer(changes: changes),
                changes.isEmpty ? "Nothing differs." : table.render(for: options.output.terminal)
            )
        }
    }
}
