import ArgumentParser
import Millrace
import MillraceAgent

struct Readiness: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How long it takes to find the steps that are ready, beside older ways.",
        discussion: """
            One run of each size stands half done among many of ten steps. The same runs are stored as tables of \
            transitions, too, where a step's present state is the latest transition or one with a flag. Times are the \
            server's own, of prepared statements. Ends with 1 where two ways disagree on what is ready.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(parsing: .upToNextOption, help: "Sizes of the runs that are asked about.")
    var steps = [10, 100, 1000]

    @Option(parsing: .upToNextOption, help: "How many half-done runs of ten steps there are, each time.")
    var runs = [50, 500, 5000, 50_000]

    @Option(help: ArgumentHelp("How long each question is asked again and again.", valueName: "s"))
    var seconds = 1.0

    func validate() throws {
        guard !steps.isEmpty, steps.allSatisfy({ 2...100_000 ~= $0 }), !runs.isEmpty, runs == runs.sorted(),
            runs.allSatisfy({ 1...10_000_000 ~= $0 }), 0...3600 ~= seconds
        else { throw ValidationError("A number lies outside of what can be measured; --runs must rise.") }
    }

    func run() async throws {
        let database = try await options.configurationStartingEmbedded()
        let crew = AgentCrew(1, configuration: AgentConfiguration(), database: database)
        var report = BenchReport("readiness")
        report.set("seconds", seconds)
        let answers = try await Client.with(database, connections: 2) { client in
            try await client.installation().check()
            var all: [Answer] = []
            var asked: [(Int?, Int64?)] = []
            for size in steps { asked.append((size, try await halfDone(size, runs: 1, client, crew).first)) }
            asked.append((nil, nil))
            var live = 0
            for count in runs {
                options.output.say("\(Spell.count(count)) live runs.")
                _ = try await halfDone(10, runs: count - live, client, crew)
                live = count
                try await client.storeTransitions()
                for (size, run) in asked {
                    all.append(try await answer(client, live: live, size: size, run: run))
                }
            }
            try await client.dropTransitions()
            return all
        }
        report.add("questions", columns: Answer.columns, rows: answers.map(\.row))
        report.judge("on which the ways disagree", Double(answers.count { !$0.agrees }), atMost: 0, "questions")
        try await report.describe(database)
        options.output.answer(report, report.text(for: options.output.terminal))
        guard report.passed else { throw ExitStatus.failed }
    }

    /// Submits runs of a random graph, of whose steps the first half has a handler that is served, and waits until no
    /// more of them can be done.
    private func halfDone(_ size: Int, runs: Int, _ client: Client, _ crew: AgentCrew) async throws -> [Int64] {
        guard runs > 0 else { return [] }
        let needs = Shape.random(size, seed: 7).needs
        let definition = WorkflowDefinition(
            name: "bench.readiness:\(size)",
            steps: needs.enumerated().map { number, needs in
                WorkflowDefinition.Step(
                    key: "s\(number)",
                    handler: number < size / 2 ? "noop" : "bench.never",
                    needs: needs.map { "s\($0)" }
                )
            }
        ) { _ in nil }
        let defined = try await client.define(definition)
        return try await crew.work {
            let ids = try await client.submit(defined, runs: runs)
            let due = runs * (size / 2)
            while true {
                let asked = ContinuousClock.now
                if try await client.completedSteps(of: ids) >= due { return ids }
                try await Task.sleep(for: max(.milliseconds(10), (ContinuousClock.now - asked) * 19))
            }
        }
    }

    private func answer(_ client: Client, live: Int, size: Int?, run: Int64?) async throws -> Answer {
        var times: [ReadinessWay: ReadinessTime] = [:]
        for way in ReadinessWay.allCases {
            times[way] = try await client.readinessTime(way, run: run, seconds: seconds)
        }
        return Answer(liveRuns: live, size: size, times: times)
    }
}

/// Of one question, by all ways.
private struct Answer: Sendable {
    var liveRuns: Int
    /// Steps of the run that was asked about; nil for all runs.
    var size: Int?
    var times: [ReadinessWay: ReadinessTime]

    static let columns =
        ["live_runs", "steps_of_run", "ready_steps"] + ReadinessWay.allCases.map { "\($0.rawValue)_ms" }

    var agrees: Bool { Set(times.values.map { "\($0.steps) \($0.fingerprint)" }).count == 1 }

    var row: [JSONValue] {
        [
            .integer(Int64(liveRuns)), size.map { .integer(Int64($0)) } ?? .string("all runs"),
            .integer(Int64(times[.millrace]?.steps ?? 0)),
        ] + ReadinessWay.allCases.map { JSONValue(figure: times[$0]?.milliseconds ?? .nan) }
    }
}
