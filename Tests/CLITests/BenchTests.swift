import Foundation
import Millrace
import MillraceTestSupport
import Testing

/// Each benchmark, tiny, against a real server: that its figures add up, not how good they are.
@Suite("Benchmarks")
struct BenchTests {
    private static let costs = [
        "wal_bytes_per_step", "full_page_bytes_per_step", "writes_per_step", "dead_rows_per_step", "commits_per_step",
        "buffer_hits_per_step", "hot_share", "server_cpu_seconds", "agent_cpu_seconds", "server",
    ]

    /// Runs `millrace bench` on a database of its own, and answers its object.
    private func bench(
        _ arguments: String...,
        tier: PostgresCluster.Tier = .dispatcher,
        status: Int32 = 0,
        counted: Bool = true
    ) async throws -> [String: JSONValue] {
        try await PostgresCluster.with(tier) { cluster in
            _ = try await cluster.createDatabase("work", extension: true)
            let program = try Program(database: cluster.url(database: "work"))
            let warmUp = counted ? ["--warm-up", "100"] : []
            let answer = try await program.run([Program.path, "bench"] + arguments + warmUp + ["--json"])
            #expect(answer.status == status, "\(answer.errors)")
            let figures = try answer.json
            #expect(figures["benchmark"] == .string(arguments[0]))
            for name in counted ? Self.costs : ["server"] { #expect(figures[name] != nil, "\(name) is missing") }
            return figures
        }
    }

    private func number(_ figures: [String: JSONValue], _ name: String) throws -> Double {
        switch figures[name] {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: throw TestSupportError("\(name) is no number: \(figures[name] ?? .null)")
        }
    }

    private func percentiles(_ figures: [String: JSONValue], _ name: String) throws -> [String: JSONValue] {
        guard case .object(let percentiles) = figures[name] else { throw TestSupportError("\(name) is missing") }
        let rising = try ["p50", "p90", "p99", "p999", "max"].map { try number(percentiles, $0) }
        #expect(rising == rising.sorted())
        return percentiles
    }

    @Test("Throughput", arguments: PostgresCluster.Tier.allCases)
    func throughput(tier: PostgresCluster.Tier) async throws {
        let figures = try await bench(
            "throughput",
            "--shape",
            "diamond:3",
            "--runs",
            "40",
            "--batch",
            "7",
            "--payload",
            "100",
            "--agents",
            "2",
            "--pinned",
            tier: tier
        )
        #expect(figures["shape"] == .string("diamond:3"))
        #expect(figures["runs"] == .integer(40))
        #expect(figures["steps"] == .integer(200))
        #expect(figures["pinned"] == .bool(true))
        let seconds = try number(figures, "seconds")
        #expect(abs(try number(figures, "steps_per_second") * seconds - 200) < 0.01)
        for name in ["first_tenth_steps_per_second", "last_tenth_steps_per_second", "wal_bytes_per_step"] {
            #expect(try number(figures, name) > 0)
        }
        // A step is inserted and completed, with two events and its output.
        #expect(try number(figures, "writes_per_step") >= 5)
        #expect(try number(figures, "dead_rows_per_step") < number(figures, "writes_per_step"))
    }

    @Test("Throughput of agents in processes of their own, of steps that take their time")
    func processes() async throws {
        let figures = try await bench(
            "throughput",
            "--shape",
            "chain:3",
            "--runs",
            "10",
            "--step-duration",
            "20",
            "--agents",
            "2",
            "--processes",
            "--concurrency",
            "5"
        )
        #expect(figures["steps"] == .integer(30))
        #expect(try number(figures, "makespan_ms") >= 60)
        #expect(try number(figures, "agent_cpu_seconds") > 0)
    }

    @Test("Throughput of a backlog: its submits are measured apart")
    func backlog() async throws {
        let figures = try await bench("throughput", "--shape", "single", "--runs", "60", "--backlog", "--pinned")
        #expect(figures["steps"] == .integer(60))
        #expect(figures["backlog"] == .bool(true))
        #expect(try number(figures, "submitted_per_second") > 0)
        #expect(abs(try number(figures, "steps_per_second") * number(figures, "seconds") - 60) < 0.01)
        // What the submits wrote counts, too.
        #expect(try number(figures, "writes_per_step") >= 5)
    }

    @Test("Latency, at a rate and under load")
    func latency() async throws {
        let steady = try await bench("latency", "--rate", "50", "--seconds", "1", "--shape", "diamond:2")
        #expect(steady["runs"] == .integer(50))
        #expect(try percentiles(steady, "submit_to_start_ms")["count"] == .integer(50))
        #expect(try percentiles(steady, "due_to_start_ms")["count"] == .integer(50))
        #expect(try percentiles(steady, "need_to_start_ms")["count"] == .integer(150))
        #expect(try percentiles(steady, "ready_to_start_ms")["count"] == .integer(200))

        let loaded = try await bench("latency", "--load", "--runs", "50", "--seconds", "0.2", "--shape", "chain:2")
        let offered = try number(loaded, "rate")
        #expect(abs(offered / (try number(loaded, "reached_runs_per_second")) - 2.0 / 3) < 1e-6)
        let started = try percentiles(loaded, "ready_to_start_ms")["count"]
        #expect(started == loaded["steps"])
    }

    @Test("Looking for what is ready, in three ways that agree")
    func readiness() async throws {
        let figures = try await bench(
            "readiness",
            "--steps",
            "10",
            "40",
            "--runs",
            "3",
            "12",
            "--seconds",
            "0",
            counted: false
        )
        guard case .array(let questions) = figures["questions"] else { throw TestSupportError("no questions") }
        let rows = questions.compactMap { question -> [String: JSONValue]? in
            if case .object(let members) = question { members } else { nil }
        }
        #expect(rows.map { $0["live_runs"] } == [3, 3, 3, 12, 12, 12].map { .integer($0) })
        #expect(
            rows.prefix(3).map { $0["steps_of_run"] } == [.integer(10), .integer(40), .string("all runs")]
        )
        for row in rows {
            #expect(try number(row, "ready_steps") > 0)
            for way in ["millrace", "latest_transition", "flagged_transition"] {
                #expect(try number(row, "\(way)_ms") > 0)
            }
        }
        // Of the same run as many are ready, however many there are beside it; of all runs more.
        #expect(rows[0]["ready_steps"] == rows[3]["ready_steps"] && rows[1]["ready_steps"] == rows[4]["ready_steps"])
        #expect(try number(rows[5], "ready_steps") > number(rows[2], "ready_steps"))
        #expect(figures["ok"] == .bool(true))
    }

    @Test("Four classes of workflows at once")
    func mixed() async throws {
        let figures = try await bench("mixed", "--speed-up", "20", "--seconds", "0.2")
        let classes = ["small", "medium", "large", "enterprise"]
        let runs = try classes.map { try number(figures, "\($0)_runs") }
        #expect(try number(figures, "runs") == runs.reduce(0, +))
        #expect(runs.allSatisfy { $0 >= 4 })
        for name in classes { _ = try percentiles(figures, "\(name)_ms") }
        #expect(figures["ok"] == .bool(true))
    }

    @Test("Many runs over few connections")
    func stress() async throws {
        let figures = try await bench("stress", "--runs", "12", "--steps", "6", "--idle", "20")
        #expect(figures["completed"] == .integer(12))
        #expect(try percentiles(figures, "run_ms")["count"] == .integer(12))
        #expect(figures["ok"] == .bool(true))
    }

    @Test("A spike, and a bound that no drain can keep")
    func spike() async throws {
        let figures = try await bench(
            "spike",
            "--rate",
            "10",
            "--seconds",
            "0.5",
            "--around",
            "0.3",
            "--shape",
            "chain:2"
        )
        #expect(figures["runs"] == .integer(56))
        #expect(figures["completed"] == .integer(56))
        #expect(try number(figures, "most_open_runs") >= 1)
        let missed = try await bench(
            "spike",
            "--rate",
            "10",
            "--seconds",
            "0.3",
            "--around",
            "0.2",
            "--bound=-1",
            status: 1
        )
        #expect(missed["ok"] == .bool(false))
    }

    @Test("A long load, made short")
    func soak() async throws {
        let figures = try await bench(
            "soak",
            "--minutes",
            "0.02",
            "--samples",
            "10",
            "--rate",
            "40",
            "--growth",
            "1000",
            "--shape",
            "chain:2"
        )
        #expect(figures["steps"] == .integer(96))
        guard case .array(let agent) = figures["agent_bytes"],
            case .array(let keeper) = figures["millrace_keeper_bytes"]
        else { throw TestSupportError("no samples") }
        #expect(agent.count == 10 && keeper.count == 10)
        #expect(try number(figures, "agent_bytes_late") > 1e6)
        #expect(figures["ok"] == .bool(true))
    }

    @Test(
        "What cannot be measured is usage",
        arguments: [
            ["throughput", "--runs", "0"], ["throughput", "--payload", "5", "--step-duration", "5"],
            ["throughput", "--payload", "5", "--processes"], ["latency", "--rate", "0"], ["latency", "--processes"],
            ["mixed", "--speed-up", "0"], ["stress", "--connections", "1"], ["spike", "--times", "0"],
            ["soak", "--samples", "1"], ["readiness", "--runs", "5", "3"], ["replay", "x.json", "--workers", "0"],
            ["throughput", "--warm-up", "0"],
        ]
    )
    func usage(arguments: [String]) async throws {
        let answer = try await Program().run([Program.path, "bench"] + arguments)
        #expect(answer.status == 2)
        #expect(answer.output.isEmpty)
    }
}
