import Foundation
import Millrace
import MillraceCLI
import Testing

@Suite("Parts of benchmarks")
struct BenchPartsTests {
    @Test("A shape is read from its name, and has its needs")
    func shapes() throws {
        #expect(Shape(argument: "single")?.needs == [[]])
        #expect(Shape(argument: "chain:3")?.needs == [[], [0], [1]])
        #expect(Shape(argument: "diamond:2")?.needs == [[], [0], [0], [1, 2]])
        for text in ["single", "chain:3", "diamond:2", "random:30", "random:30:7"] {
            #expect(Shape(argument: text)?.name == text)
        }
        for text in ["circle", "single:1", "chain", "chain:0", "chain:x", "random:5:x", "diamond:2:3", ""] {
            #expect(Shape(argument: text) == nil)
        }
    }

    @Test("A random shape is the same for the same seed, and has no cycle")
    func random() throws {
        let needs = try #require(Shape(argument: "random:200:7")).needs
        #expect(needs == Shape(argument: "random:200:7")?.needs)
        #expect(needs != Shape(argument: "random:200:8")?.needs)
        #expect(needs.count == 200)
        #expect(needs.enumerated().allSatisfy { step, needs in needs.allSatisfy { $0 < step } })
        #expect(needs.contains { $0.count > 1 })
    }

    @Test("Runs are due by the clock", arguments: [(rate: 100.0, seconds: 2.0), (5000, 0.5), (0.2, 1), (333, 1)])
    func schedule(rate: Double, seconds: Double) {
        let loop = OpenLoop(rate: rate, seconds: seconds)
        var runs = 0
        var number = 0
        while let batch = loop.batch(number) {
            runs += batch.runs
            number += 1
            #expect(abs(batch.due - Double(runs - 1) / rate) < 1e-9)
            #expect(Double(batch.runs) <= max(1, rate * 0.005))
        }
        #expect(runs == loop.runs)
        #expect(runs == max(1, Int((rate * seconds).rounded())))
    }

    @Test("Percentiles are those of what was recorded")
    func percentiles() {
        let recorder = LatencyRecorder()
        #expect(recorder.percentiles.count == 0)
        for milliseconds in 1...1000 { recorder.record(.milliseconds(milliseconds)) }
        recorder.record(seconds: -1)
        let percentiles = recorder.percentiles
        #expect(percentiles.count == 1001)
        for (value, expected) in [
            (percentiles.p50, 500), (percentiles.p90, 900), (percentiles.p99, 990), (percentiles.p999, 999),
            (percentiles.max, 1000), (percentiles.mean, 500),
        ] { #expect(abs(value - Double(expected)) <= Double(expected) * 0.002 + 1) }
    }

    private func span(_ from: Double, _ to: Double?) -> RunSpan {
        RunSpan(runId: 0, submittedAt: 1000 + from, endedAt: to.map { 1000 + $0 }, completed: to != nil)
    }

    @Test("A spike is drained when the last run submitted in it has ended")
    func drain() {
        let drain = Drain([span(0, 1), span(5, 19), span(9, 17), span(11, 40)], until: 10)
        #expect(drain.seconds == 9)
        #expect(drain.mostOpen == 3)
        #expect(Drain([span(0, 1), span(2, 3)], until: 10).seconds == 0)
        #expect(Drain([span(0, 1), span(1, 2)], until: 10).mostOpen == 1)
        #expect(Drain([span(0, nil)], until: 10).seconds == .infinity)
    }

    @Test("A series grows by what its end is above its beginning, the warm-up left out")
    func trend() throws {
        #expect(Trend([1, 2, 3, 4]) == nil)
        let flat = try #require(Trend([1, 100, 100, 100, 100]))
        #expect(flat.growth == 0)
        let growing = try #require(Trend([0, 0, 100, 100, 100, 100, 100, 100, 109, 111]))
        #expect(abs(growing.growth - 0.1) < 1e-9)
    }

    @Test("The kernel's account of a process, whatever its name")
    func processes() throws {
        let text = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7"
        let record = try #require(ProcessRecord(stat: text))
        #expect(record.name == "a (b) c")
        #expect(record.parent == 12)
        #expect(record.ticks == 127)
        #expect(ProcessRecord(stat: "nonsense") == nil)
        #expect(ProcessRecord(stat: "1 (x) S") == nil)
    }

    @Test("A class of workflows has sizes from its smallest to its largest, and misses its time by one late run")
    func classes() throws {
        for workflows in WorkflowClass.all {
            #expect(workflows.sizes.first == workflows.steps.lowerBound)
            #expect(workflows.sizes.last == workflows.steps.upperBound)
        }
        let small = try #require(WorkflowClass.all.first { $0.name == "small" })
        func passes(_ spans: [RunSpan]) -> Bool {
            var report = BenchReport("mixed")
            small.judge(spans, in: &report)
            return report.passed
        }
        #expect(passes([span(0, 4.9), span(1, 5)]))
        #expect(!passes([span(0, 5.1), span(1, 2)]))
        #expect(!passes([span(0, 1), span(1, nil)]))
    }

    @Test("A report is one flat object, and ends well only where every bound was kept")
    func report() throws {
        var report = BenchReport("sample")
        report.set("shape", "single")
        report.add("steps", 3)
        report.add("share", 0.5)
        report.add("endless", Double.infinity)
        report.judge("time", 1, atMost: 2, "seconds")
        #expect(report.passed)
        report.judge("late", .infinity, atMost: 2, "seconds")
        #expect(!report.passed)
        let json = try JSONDecoder().decode([String: JSONValue].self, from: try JSONEncoder().encode(report))
        #expect(json["benchmark"] == .string("sample"))
        #expect(json["shape"] == .string("single"))
        #expect(json["steps"] == .integer(3))
        #expect(json["share"] == .number(0.5))
        #expect(json["endless"] == .null)
        #expect(json["ok"] == .bool(false))
    }
}
