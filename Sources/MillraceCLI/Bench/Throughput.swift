import ArgumentParser
import Millrace
import MillraceAgent
import Postgres

struct Throughput: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How many steps a second pass through the engine.",
        discussion: """
            Submits runs in batches while agents in this program execute them, and takes the time from the first submit to \
            the last completion as the log of events has them.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "single, chain:N, diamond:N, random:N, or a definition file.")
    var shape = Shape.chain(10)

    @Option(help: "Runs to submit.")
    var runs = 10_000

    @Option(help: "Agents in this program.")
    var agents = 1

    @Option(help: "Steps in execution at once, of each agent.")
    var concurrency = 1000

    @Option(help: "Runs of one submit, and results of one report.")
    var batch = 500

    @Option(help: "Size of each run's input, in bytes.")
    var payload = 0

    @Option(help: "The handler of the steps, where the shape does not say.")
    var handler = "noop"

    func validate() throws {
        guard 1...10_000_000 ~= runs, 1...64 ~= agents, 1...100_000 ~= batch, 1...100_000 ~= concurrency,
            0...10_000_000 ~= payload
        else { throw ValidationError("A number lies outside of what can be measured.") }
    }

    struct Figures: Encodable {
        var shape: String
        var runs: Int
        var steps: Int
        var seconds: Double
        var stepsPerSecond: Double
        var runsPerSecond: Double
        var agents: Int
        var concurrency: Int
        var batch: Int
        var payload: Int
        var walBytesPerStep: Double
        var writesPerStep: Double
        var hotShare: Double
    }

    func run() async throws {
        let definition = try shape.definition(handler: handler)
        let database = try await options.configurationStartingEmbedded()
        try await Client.with(database) { client in
            try await client.installation().check()
            let defined = try await client.define(definition)
            let crew = AgentCrew(agents, configuration: agent(definition), database: database)
            let (before, ids) = try await crew.work {
                try await client.warmUp()
                return (try await client.traffic(), try await submitAndWait(client, defined))
            }
            let timing = try await client.timing(of: ids)
            let after = try await client.traffic()
            guard timing.completedRuns == runs else {
                throw MillraceError(
                    .unexpectedAnswer,
                    "Only \(timing.completedRuns) of \(runs) runs completed.",
                    hint: "millrace runs --workflow \(defined.workflow) shows the others."
                )
            }
            let figures = figures(timing, before, after)
            options.output.answer(figures, Self.text(figures))
        }
    }

    private func submitAndWait(_ client: Client, _ defined: DefinedWorkflow) async throws -> [Int64] {
        var submission = Submission(workflow: defined.workflow)
        submission.version = defined.version
        let input: JSONValue? =
            payload > 0 ? .object(["payload": .string(String(repeating: "x", count: payload))]) : nil
        var ids: [Int64] = []
        while ids.count < runs {
            let inputs = Array(repeating: input, count: min(batch, runs - ids.count))
            ids += try await client.submitMany(submission, inputs: inputs)
        }
        try await client.waitForRuns(from: ids.min(), of: defined)
        return ids
    }

    private func agent(_ definition: WorkflowDefinition) -> AgentConfiguration {
        var configuration = AgentConfiguration()
        configuration.queues = Set(definition.steps.map(\.queue)).union(["default"]).sorted()
        configuration.concurrency.total = concurrency
        configuration.reports.batchSize = batch
        return configuration
    }

    private func figures(_ timing: RunsTiming, _ before: Traffic, _ after: Traffic) -> Figures {
        let steps = Double(max(timing.completedSteps, 1))
        let updates = Double(after.updates - before.updates)
        return Figures(
            shape: shape.name,
            runs: runs,
            steps: timing.completedSteps,
            seconds: timing.seconds,
            stepsPerSecond: steps / max(timing.seconds, 1e-6),
            runsPerSecond: Double(runs) / max(timing.seconds, 1e-6),
            agents: agents,
            concurrency: concurrency,
            batch: batch,
            payload: payload,
            walBytesPerStep: (after.walBytes - before.walBytes) / steps,
            writesPerStep: Double(after.writes - before.writes) / steps,
            hotShare: updates > 0 ? Double(after.hotUpdates - before.hotUpdates) / updates : 0
        )
    }

    private static func text(_ figures: Figures) -> String {
        """
        \(figures.shape): \(Spell.count(figures.runs, "run")), \(Spell.count(figures.steps, "step")) \
        in \(Spell.seconds(figures.seconds)): \(Spell.count(Int(figures.stepsPerSecond))) steps/s
        \(Spell.count(Int(figures.walBytesPerStep))) bytes of log and \(Spell.decimal(figures.writesPerStep)) row writes a step, \
        \(Int(figures.hotShare * 100)) % of the updates in place
        """
    }
}
