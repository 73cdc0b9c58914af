import ArgumentParser
import Foundation
import Millrace
import MillraceAgent

struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Replay a recorded workflow and compare with what is possible.",
        discussion: """
            Each step sleeps as long as it was recorded to run, times the scale. The makespan is compared with what no \
            schedule can beat (the longest path, or all work shared out evenly), and with a schedule of the same order in \
            which handing out costs nothing. The log must show that each step ran once, and none before its needs.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "A recorded run in WfFormat.", completion: .file())
    var file: String

    @Option(help: "Steps in execution at once.")
    var workers = 8

    @Option(help: ArgumentHelp("What recorded runtimes are multiplied with.", valueName: "factor"))
    var timeScale = 1.0

    @Option(help: "Instead of a factor: how long the replay should take at best.")
    var seconds: Double?

    @Option(help: "What is started first: critical-path, or first-come.")
    var order = ListSchedule.Order.criticalPath

    @Flag(help: "Say nothing of durations beforehand; measure a second run, which has learnt them from a first one.")
    var learn = false

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 1...10_000 ~= workers else { throw ValidationError("--workers must lie between 1 and 10,000.") }
        guard !learn || order == .criticalPath else { throw ValidationError("--learn is about --order critical-path.") }
        guard seconds.map({ $0 > 0 }) ?? true else { throw ValidationError("--seconds must be greater than 0.") }
    }

    func run() async throws {
        let recording = try Recording(WorkflowDefinition.load(file, format: .wfformat))
            .scaled(seconds: seconds, factor: timeScale, workers: workers)
        let database = try await options.configurationStartingEmbedded()
        var agent = AgentConfiguration()
        var handlers = Handlers.standard
        agent.concurrency.total = workers
        if order == .firstCome {
            // All that is ready is claimed at once, and waits for one of the workers here.
            agent.concurrency.total = max(workers, recording.graph.steps.count)
            handlers.register(FirstComeHandler.name, FirstComeHandler(workers: workers))
        }
        let crew = AgentCrew(1, configuration: agent, handlers: handlers, database: database)
        let definition = recording.definition(order: order, learn: learn)
        try await Client.with(database) { client in
            try await client.installation().check()
            let defined = try await client.define(definition)
            let runs = try await crew.work {
                try await client.warmUp(steps: warmUp.steps)
                var runs = try await play(client, defined)
                if learn {
                    try await client.awaitDurations(of: defined)
                    runs += try await play(client, defined)
                }
                return runs
            }
            var report = BenchReport("replay")
            report.set("workflow", recording.graph.name)
            report.set("order", learn ? "learnt critical-path" : order.rawValue)
            report.set("workers", workers)
            report.set("time_scale", recording.scale)
            let accounts = try await runs.asyncMap { try await ReplayAccount(client, run: $0, recording) }
            report.add(accounts.last, first: learn ? accounts.first : nil, of: recording, order: order, workers: workers)
            options.output.answer(report, report.text(for: options.output.terminal))
            guard report.passed else { throw ExitStatus.failed }
        }
    }

    private func play(_ client: Client, _ defined: DefinedWorkflow) async throws -> [Int64] {
        let runs = try await client.submit(defined, runs: 1)
        try await client.finish(runs, of: defined)
        return runs
    }
}

extension ListSchedule.Order: ExpressibleByArgument {}

extension BenchReport {
    fileprivate mutating func add(
        _ account: ReplayAccount?,
        first: ReplayAccount?,
        of recording: Recording,
        order: ListSchedule.Order,
        workers: Int
    ) {
        guard let account else { return }
        let ideal = recording.schedule(order: order, workers: workers, numbers: account.numbers)
        let firstCome = recording.schedule(order: .firstCome, workers: workers, numbers: account.numbers)
        add("steps", recording.graph.steps.count)
        add("depth", recording.graph.rows.count)
        add("shortest_step_ms", recording.durations.filter { $0 > 0 }.min().map { $0 * 1000 })
        add("makespan_seconds", account.makespan)
        if let first { add("first_makespan_seconds", first.makespan) }
        add("lower_bound_seconds", ideal.lowerBound)
        add("schedule_seconds", ideal.makespan)
        add("makespan_to_lower_bound", ratio(account.makespan, ideal.lowerBound))
        if let first { add("first_makespan_to_lower_bound", ratio(first.makespan, ideal.lowerBound)) }
        add("schedule_to_lower_bound", ratio(ideal.makespan, ideal.lowerBound))
        add("first_come_schedule_to_lower_bound", ratio(firstCome.makespan, ideal.lowerBound))
        add("makespan_to_schedule", ratio(account.makespan, ideal.makespan))
        if order == .criticalPath { add("sleep_overrun_ms", account.overruns) }
        judge("not run once", Double(account.notOnce), atMost: 0, "steps")
        judge("started before a need had ended", Double(account.early), atMost: 0, "steps")
    }

    private func ratio(_ value: Double, _ bound: Double) -> Double? { bound > 0 ? value / bound : nil }
}

extension Array {
    fileprivate func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
