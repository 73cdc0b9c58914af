import ArgumentParser
import Foundation
import Millrace
import Synchronization

struct Soak: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A steady load for long, and whether memory stays flat.",
        discussion: """
            Looks at the memory of the agents and of the server's workers again and again. Ends with 1 where, after the \
            warm-up, one has grown by more than it may.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "For how long.")
    var minutes = 30.0

    @Option(help: "single, chain:N, diamond:N or random:N[:SEED].")
    var shape = Shape.chain(10)

    @Option(help: ArgumentHelp("Runs submitted each second.", valueName: "runs/s"))
    var rate = 200.0

    @Option(help: "How often to look, in all.")
    var samples = 60

    @Option(help: ArgumentHelp("What memory may grow by.", valueName: "percent"))
    var growth = 5.0

    @OptionGroup var crew: CrewOptions

    @OptionGroup var warmUp: WarmUp

    func validate() throws {
        guard 0.001...10_000 ~= minutes, 0.1...1e6 ~= rate, 10...100_000 ~= samples, 0...1000 ~= growth else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
        guard !crew.processes else { throw ValidationError("Only the memory of agents in this process is looked at.") }
    }

    func run() async throws {
        let definition = try shape.definition(.noop)
        let stage = try await BenchStage(options, warmUp)
        let (taken, cost) = try await stage.play(
            [definition],
            crew: try crew.crew(for: [definition], database: stage.database, options),
            connections: OpenLoop.connections + 1
        ) { scene in
            async let sampled = sample(scene.client)
            let loop = OpenLoop(rate: rate, seconds: minutes * 60)
            // Runs are not remembered one by one: that would be growth, too.
            let first = Mutex(Int64.max)
            try await loop.submit(scene.workflows[0], scene.client) { submits in
                first.withLock { first in first = submits.map(\.run).reduce(first, min) }
            }
            try await scene.client.finish([first.withLock { $0 }], of: scene.workflows[0])
            return (try await sampled, steps: loop.runs * scene.workflows[0].steps)
        }
        var report = BenchReport("soak")
        report.set("minutes", minutes)
        report.set("shape", shape.name)
        report.set("rate", rate)
        crew.describe(in: &report)
        report.add("steps", cost.steps)
        Self.describe(taken, growth: growth, in: &report)
        cost.add(to: &report)
        try await stage.describe(in: &report)
        options.output.answer(report, report.text(for: options.output.terminal))
        guard report.passed else { throw ExitStatus.failed }
    }

    /// Memory in bytes, by whose it is; and the tables.
    struct Sample: Sendable {
        var memory: [String: Int]
        var tables: TableSizes
    }

    private func sample(_ client: Client) async throws -> [Sample] {
        let begin = ContinuousClock.now
        var taken: [Sample] = []
        for number in 1...samples {
            try await Task.sleep(until: begin + .seconds(minutes * 60 * Double(number) / Double(samples)))
            var memory = ["agent": ProcessRecord.memory(Int(getpid()), "VmRSS") ?? 0]
            // Shared buffers would seem to grow until each of them has been touched once.
            for process in try await client.serverProcesses() where process.type.hasPrefix("millrace") {
                memory[process.type, default: 0] += ProcessRecord.memory(process.pid, "RssAnon") ?? 0
            }
            taken.append(Sample(memory: memory, tables: try await client.tableSizes()))
        }
        return taken
    }

    private static func describe(_ samples: [Sample], growth: Double, in report: inout BenchReport) {
        guard let first = samples.first, let last = samples.last else { return }
        for name in first.memory.keys.sorted() {
            let series = samples.compactMap { $0.memory[name] }.map(Double.init)
            guard let trend = Trend(series) else { continue }
            let title = name.replacing(" ", with: "_")
            report.add("\(title)_bytes_early", trend.early)
            report.add("\(title)_bytes_late", trend.late)
            report.add("\(title)_bytes", samples.map { .integer(Int64($0.memory[name] ?? 0)) })
            report.judge("\(name), growth of its memory", trend.growth * 100, atMost: growth, "percent")
        }
        report.add("table_bytes_first", Int(first.tables.bytes))
        report.add("table_bytes_last", Int(last.tables.bytes))
        report.add("table_bytes", samples.map { .integer($0.tables.bytes) })
        report.add("dead_rows", samples.map { .integer($0.tables.deadRows) })
        report.add("dead_rows_most", Int(samples.map(\.tables.deadRows).max() ?? 0))
    }
}

/// Whether a series grows: the median of its last fifth against that of the fifth after a warm-up of one fifth.
package struct Trend: Hashable {
    package let early: Double
    package let late: Double

    package var growth: Double { early > 0 ? late / early - 1 : 0 }

    /// nil where there are too few values.
    package init?(_ series: [Double]) {
        let fifth = series.count / 5
        guard fifth > 0 else { return nil }
        early = Self.median(series[fifth..<2 * fifth])
        late = Self.median(series[(series.count - fifth)...])
    }

    private static func median(_ values: ArraySlice<Double>) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
