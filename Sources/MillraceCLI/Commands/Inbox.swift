import ArgumentParser
import Millrace

struct Inbox: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the steps that wait for a person.")

    @OptionGroup var options: DatabaseOptions

    @Option(help: "Only what this person is assigned to, or may take.")
    var person: String?

    @Option(help: "Only those of a workflow.")
    var workflow: String?

    @Option(help: "At most so many.")
    var limit = 100

    private struct Answer: Encodable { var inbox: [InboxItem] }

    func validate() throws {
        guard 1...100_000 ~= limit else { throw ValidationError("--limit must lie between 1 and 100,000.") }
    }

    func run() async throws {
        var filter = InboxFilter()
        filter.person = person
        filter.workflow = workflow
        filter.limit = limit
        try await options.withClient { [filter] client in
            let items = try await client.inbox(filter)
            options.output.answer(
                Answer(inbox: items),
                items.isEmpty ? "Nothing waits for a person." : Self.table(items).render(for: .output)
            )
        }
    }

    private static func table(_ items: [InboxItem]) -> Table {
        Table(
            columns: [
                .number("RUN"), .text("STEP", limit: 40), .text("WORKFLOW", limit: 40), .text("TITLE"), .text("FOR"),
                .text("SINCE"), .text("UNTIL"),
            ],
            rows: items.map { item in
                [
                    "\(item.runId)", item.key, item.workflow, item.title ?? "",
                    item.assignee ?? (item.candidates.isEmpty ? "anybody" : item.candidates.joined(separator: " or ")),
                    Spell.time(item.since), item.due.map { Spell.time($0) } ?? "-",
                ]
            }
        )
    }
}
