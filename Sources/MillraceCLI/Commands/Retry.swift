import ArgumentParser
import Millrace

struct Retry: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Try the failed steps of a run again, and what hung on them.",
        discussion: "Instead of one run, a filter says which runs, and which of their failures, are meant."
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup(title: "Many runs") var many: FilterOptions
    @OptionGroup(title: "Failures of many runs") var failures: FailureOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64?

    @Argument(help: "The key of one failed step; all of them where left out.")
    var step: String?

    @Option(help: "With a filter: failures of this step alone.")
    var key: String?

    private struct Answer: Encodable {
        var runId: Int64
        var steps: Int
    }

    private struct ManyAnswer: Encodable {
        var runs: [RetriedRun]
        var isDryRun: Bool
    }

    func validate() throws {
        guard failures.isGiven || key != nil, runID == nil else { return try many.validate(run: runID) }
    }

    func run() async throws {
        try await options.withClient { client in
            guard let runID else { return try await retryMany(client) }
            let steps = try await client.retry(runID, key: step)
            options.output.answer(
                Answer(runId: runID, steps: steps),
                "\(Spell.count(steps, "step")) of run \(runID) will be tried again."
            )
        }
    }

    private func retryMany(_ client: Client) async throws {
        let filter = try failures.narrow(many.filter())
        let runs = try await client.retry(where: filter, key: key, isDryRun: many.dryRun)
        let steps = Spell.count(runs.reduce(0) { $0 + $1.steps }, "step")
        options.output.answer(
            ManyAnswer(runs: runs, isDryRun: many.dryRun),
            "\(steps) of \(Spell.count(runs.count, "run")) \(many.dryRun ? "would" : "will") be tried again."
        )
    }
}
