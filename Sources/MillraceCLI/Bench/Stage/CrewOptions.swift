import ArgumentParser
import Configuration
import Millrace
import MillraceAgent
import Postgres

/// The agents of a benchmark. What is not said here comes from the environment (MILLRACE_AGENT_…), as for `agent`.
struct CrewOptions: ParsableArguments {
    @Option(help: "Agents.")
    var agents = 1

    @Flag(help: "Each agent in a process of its own, instead of all in this one.")
    var processes = false

    @Option(help: "Steps in execution at once, of each agent.")
    var concurrency = 1000

    @Option(
        help:
            "Runs of one submit, and the most results of one report; 500, and what the agent finds best, where left out."
    )
    var batch: Int?

    var submitBatch: Int { batch ?? 500 }

    func validate() throws {
        guard 1...64 ~= agents, 1...100_000 ~= submitBatch, 1...100_000 ~= concurrency else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
    }

    func configuration(for definitions: [WorkflowDefinition]) throws -> AgentConfiguration {
        var configuration = try AgentConfiguration(reader: Settings.environment)
        configuration.queues = queues(definitions)
        configuration.concurrency.total = concurrency
        if let batch { configuration.reports.batchSize = batch }
        return configuration
    }

    func crew(
        for definitions: [WorkflowDefinition],
        handlers: Handlers = .standard,
        database: PostgresConfiguration,
        _ options: DatabaseOptions
    ) throws -> any Crew {
        guard processes else {
            let configuration = try configuration(for: definitions)
            return AgentCrew(agents, configuration: configuration, handlers: handlers, database: database)
        }
        var arguments = ["--concurrency", "\(concurrency)", "--queues", queues(definitions).joined(separator: ",")]
        if let url = options.named { arguments += ["--database", url] }
        var settings: [String: String] = [:]
        if let batch { settings["MILLRACE_AGENT_REPORTS_BATCH_SIZE"] = "\(batch)" }
        return AgentProcesses(count: agents, arguments: arguments, settings: settings)
    }

    private func queues(_ definitions: [WorkflowDefinition]) -> [String] {
        Set(definitions.flatMap { $0.steps.map(\.queue) }).union(["default"]).sorted()
    }

    func describe(in report: inout BenchReport) {
        report.set("agents", agents)
        report.set("processes", processes)
        report.set("concurrency", concurrency)
        report.set("batch", batch)
    }
}
