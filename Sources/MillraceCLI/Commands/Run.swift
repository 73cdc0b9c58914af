import ArgumentParser
import Millrace
import MillraceAgent

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a definition file and watch it to its end.",
        discussion: """
            Starts the embedded database unless another one is named, defines the workflow, submits a run, and executes \
            its steps in this program.
            """
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var definition: DefinitionOptions
    @OptionGroup var input: InputOptions

    @Option(help: "Steps in execution at once, of each agent.")
    var concurrency: Int?

    @Option(help: "Agents in this program; with 0, others have to do the work.")
    var agents = 1

    func validate() throws {
        guard 0...64 ~= agents else { throw ValidationError("--agents must lie between 0 and 64.") }
        if let concurrency, !(1...10_000 ~= concurrency) {
            throw ValidationError("--concurrency must lie between 1 and 10,000.")
        }
    }

    func run() async throws {
        let definitions = try definition.load()
        let input = try input.value()
        let output = options.output
        let database = try await options.configurationStartingEmbedded()
        try await Client.with(database) { client in
            try await client.installation().check()
            let defined = try await client.define(definitions).last!
            var submission = Submission(workflow: defined.workflow, input: input)
            submission.version = defined.version
            let run = try await client.submit(submission)
            output.say(
                "\(defined.workflow) version \(defined.version), run \(run): \(Spell.count(defined.steps, "step")), "
                    + Spell.count(defined.edges, "edge")
            )
            let watcher = RunWatcher(client: client, run: run, output: output)
            let ended = try await watch(
                watcher,
                AgentCrew(agents, configuration: agent(definitions), database: database)
            )
            try await RunReport.give(ended, client, output)
        }
    }

    private func watch(_ watcher: RunWatcher, _ crew: AgentCrew) async throws -> RunSummary {
        guard agents > 0 else { return try await watcher.watch() }
        do {
            return try await crew.work { try await watcher.watch() }
        } catch is AgentCrew.Interrupted {
            options.output.say(
                "Stopped. Run \(watcher.run) goes on when an agent does: millrace agent; see it with millrace watch \(watcher.run)."
            )
            throw ExitStatus.failed
        }
    }

    private func agent(_ definitions: [WorkflowDefinition]) -> AgentConfiguration {
        var configuration = AgentConfiguration()
        configuration.queues = Set(definitions.flatMap { $0.steps.map(\.queue) }).union(["default"]).sorted()
        if let concurrency { configuration.concurrency.total = concurrency }
        // Whoever interrupts this program does not want to wait long for it.
        configuration.shutdown.gracePeriod = .seconds(5)
        return configuration
    }
}
