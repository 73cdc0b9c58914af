import ArgumentParser
import Foundation
import Millrace

struct Resolve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a failed step count as completed.",
        discussion: """
            The run goes on with what hung on it. Instead of one run, a filter says which runs, and which failures of
            the step --key, are meant.
            """
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup(title: "Many runs") var many: FilterOptions
    @OptionGroup(title: "Failures of many runs") var failures: FailureOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64?

    @Argument(help: "The step's key.")
    var step: String?

    @Option(help: "With a filter: the step's key.")
    var key: String?

    @Option(help: ArgumentHelp("What the step should have answered.", valueName: "json"))
    var output: String?

    @Option(help: "Who says so; the database role where left out.")
    var by: String?

    @Option(help: "Why; kept in the log.")
    var reason: String?

    func validate() throws {
        guard failures.isGiven, runID == nil else { return try many.validate(run: runID) }
    }

    func run() async throws {
        let value = try output.map { try JSONValue(json: $0) }
        guard let step = runID == nil ? key : step else {
            throw ValidationError("Name the step\(runID == nil ? ": --key." : ".")")
        }
        try await options.withClient { client in
            guard let runID else { return try await resolveMany(client, step, value) }
            try await client.resolve(runID, key: step, output: value, resolvedBy: by, reason: reason)
            let summary = try await client.run(runID)
            options.output.answer(RunReport(summary), "\(step) counts as completed; run \(runID) is \(summary.state).")
        }
    }

    private func resolveMany(_ client: Client, _ step: String, _ value: JSONValue?) async throws {
        let runs = try await client.resolve(
            where: failures.narrow(many.filter()),
            key: step,
            output: value,
            resolvedBy: by,
            reason: reason,
            isDryRun: many.dryRun
        )
        options.output.answer(
            ManyRuns(runIds: runs, isDryRun: many.dryRun),
            "\(step) \(many.dryRun ? "would count" : "counts") as completed in \(Spell.count(runs.count, "run"))."
        )
    }
}
