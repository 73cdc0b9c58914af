import ArgumentParser
import Millrace

struct Runs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List runs, the newest first.")

    @OptionGroup var options: DatabaseOptions

    @Option(help: "Only those of a workflow.")
    var workflow: String?

    @Option(help: "Only those in a state: running, paused, completed, failed, cancelled. May be given again.")
    var state: [String] = []

    @Option(help: "Only those of a tenant.")
    var tenant: String?

    @Option(help: "At most so many.")
    var limit = 20

    private struct Answer: Encodable { var runs: [RunSummary] }

    func validate() throws {
        guard 1...100_000 ~= limit else { throw ValidationError("--limit must lie between 1 and 100,000.") }
    }

    func run() async throws {
        var filter = RunFilter()
        filter.workflow = workflow
        filter.states = state
        filter.tenant = tenant
        filter.limit = limit
        try await options.withClient { [filter] client in
            let runs = try await client.runs(filter)
            options.output.answer(Answer(runs: runs), runs.isEmpty ? "No runs." : Self.table(runs).render(for: .output))
        }
    }

    private static func table(_ runs: [RunSummary]) -> Table {
        Table(
            columns: [
                .number("RUN"), .text("WORKFLOW", limit: 40), .number("VERSION"), .state("STATE"), .number("STEPS"),
                .number("DONE"), .number("FAILED"), .number("TOOK"), .text("SUBMITTED"),
            ],
            rows: runs.map { run in
                [
                    "\(run.runId)", run.workflow, "\(run.version)", run.state, Spell.count(run.steps),
                    Spell.count(run.completed), Spell.count(run.failed), run.seconds.map(Spell.seconds) ?? "-",
                    Spell.time(run.createdAt),
                ]
            }
        )
    }
}
