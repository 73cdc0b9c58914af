import ArgumentParser
import Millrace

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End a run: nothing more of it is started.",
        discussion: "Instead of one run, a filter says which runs are meant."
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup(title: "Many runs") var many: FilterOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64?

    @Option(help: "Why; kept in the log.")
    var reason: String?

    func validate() throws { try many.validate(run: runID) }

    func run() async throws {
        try await options.withClient { client in
            guard let runID else { return try await cancelMany(client) }
            try await client.cancel(runID, reason: reason)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "Run \(runID) is \(summary.state).")
        }
    }

    private func cancelMany(_ client: Client) async throws {
        let runs = try await client.cancel(where: many.filter(), reason: reason, isDryRun: many.dryRun)
        options.output.answer(
            ManyRuns(runIds: runs, isDryRun: many.dryRun),
            "\(Spell.count(runs.count, "run")) \(many.dryRun ? "would be" : "have been") cancelled."
        )
    }
}
