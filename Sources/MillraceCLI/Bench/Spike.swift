import ArgumentParser
import Millrace

struct Spike: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ten times the rate for ten seconds, and how long until that is drained.",
        discussion: "Ends with 1 where draining takes longer than it may."
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "single, chain:N, diamond:N or random:N[:SEED].")
    var shape = Shape.chain(10)

    @Option(help: ArgumentHelp("Runs submitted each second before and after.", valueName: "runs/s"))
    var rate = 100.0

    @Option(help: "How many times as many in the spike.")
    var times = 10.0

    @Option(help: ArgumentHelp("How long the spike lasts.", valueName: "s"))
    var seconds = 10.0

    @Option(help: ArgumentHelp("How long the rate is steady before and after.", valueName: "s"))
    var around = 5.0

    @Option(help: ArgumentHelp("How long draining may take.", valueName: "s"))
    var bound = 30.0

    @OptionGroup var crew: CrewOptions

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 0.1...1e6 ~= rate * times, 1...1000 ~= times, 0.1...3600 ~= seconds, 0.1...3600 ~= around else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
    }

    func run() async throws {
        let definition = try shape.definition(.noop)
        let stage = try await BenchStage(options, warmUp)
        let (spans, cost) = try await stage.play(
            [definition],
            crew: try crew.crew(for: [definition], database: stage.database, options),
            connections: OpenLoop.connections
        ) { scene in
            var ids: [Int64] = []
            for (rate, seconds) in [(rate, around), (rate * times, seconds), (rate, around)] {
                ids += try await OpenLoop(rate: rate, seconds: seconds).submit(scene.workflows[0], scene.client).map(
                    \.run
                )
            }
            try await scene.client.finish(ids, of: scene.workflows[0])
            return (try await scene.client.spans(of: ids), steps: ids.count * scene.workflows[0].steps)
        }
        let drain = Drain(spans, until: around + seconds)
        var report = BenchReport("spike")
        report.set("shape", shape.name)
        report.set("rate", rate)
        report.set("times", times)
        report.set("spike_seconds", seconds)
        crew.describe(in: &report)
        report.add("runs", spans.count)
        report.add("completed", spans.count { $0.completed })
        report.add("most_open_runs", drain.mostOpen)
        report.add("drain_seconds", drain.seconds)
        cost.add(to: &report)
        try await stage.describe(in: &report)
        report.judge("drained", drain.seconds, atMost: bound, "seconds")
        report.judge("runs left over", Double(spans.count { !$0.completed }), atMost: 0, "runs")
        options.output.answer(report, report.text(for: options.output.terminal))
        guard report.passed else { throw ExitStatus.failed }
    }
}

/// How a backlog went away, by the log of events.
package struct Drain {
    /// From the end of the spike until all runs submitted up to then had ended; infinite where one has not.
    package let seconds: Double
    /// The most runs that were open at once.
    package let mostOpen: Int

    /// - Parameter end: When the spike ended, in seconds after the first submit.
    package init(_ spans: [RunSpan], until end: Double) {
        let end = (spans.map(\.submittedAt).min() ?? 0) + end
        let last = spans.filter { $0.submittedAt <= end }.map { $0.endedAt ?? .infinity }.max() ?? end
        seconds = max(0, last - end)
        let changes = spans.flatMap { [($0.submittedAt, 1), ($0.endedAt ?? .infinity, -1)] }
        var open = 0
        var most = 0
        // A run that begins as another ends is not open beside it.
        for (_, change) in changes.sorted(by: { $0 < $1 }) {
            open += change
            most = max(most, open)
        }
        mostOpen = most
    }
}
