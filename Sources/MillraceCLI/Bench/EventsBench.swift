import ArgumentParser
import Logging
import Millrace
import MillraceAgent
import MillraceEvents
import Postgres
import ServiceLifecycle

struct EventsBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "How fast a backlog of events is published, and how soon new ones are.",
        discussion: """
            Publishes to an HTTP server in this program, which unpacks each batch and counts its events. First a backlog is \
            made, by agents in this program, and drained; then runs are submitted at a steady rate, and the time of each \
            commit is compared with the arrival of its events (with track_commit_timestamp = on; else the time of each \
            event, which was taken before its commit).
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(help: "Events to drain; 0 leaves that out.")
    var backlog = 1_000_000

    @Option(help: "Events a second while live.")
    var rate = 10_000

    @Option(help: "Seconds of live events; 0 leaves that out.")
    var seconds = 60

    @Option(help: "The most events of a batch.")
    var batch = 1000

    @Flag(help: "Keep a transaction open meanwhile that has written events.")
    var openWriter = false

    /// What one run of ``shape`` writes, apart from steps that are given back.
    private static let eventsOfRun = 22
    private static let shape = Shape.chain(10)

    func validate() throws {
        guard 0...100_000_000 ~= backlog, 1...1_000_000 ~= rate, 0...86_400 ~= seconds, 1...100_000 ~= batch else {
            throw ValidationError("A number lies outside of what can be measured.")
        }
    }

    func run() async throws {
        let database = try await options.configurationStartingEmbedded()
        try await Client.with(database) { client in
            try await client.installation().check()
            let defined = try await client.define(Self.shape.definition(.noop))
            let stage = EventsStage(client: client, database: database, defined: defined, batch: batch)
            var report = BenchReport("events")
            report.set("batch", batch)
            report.set("open_writer", openWriter)
            if backlog > 0 { try await drain(stage, &report) }
            if seconds > 0 { try await live(stage, &report) }
            options.output.answer(report, report.text(for: .output))
            if !report.passed { throw ExitStatus.failed }
        }
    }

    private func drain(_ stage: EventsStage, _ report: inout BenchReport) async throws {
        let subscription = "bench backlog"
        try await stage.subscribeAnew(subscription)
        let runs = (backlog + Self.eventsOfRun - 1) / Self.eventsOfRun
        options.output.say("Making \(Spell.count(backlog)) events.")
        let events = try await stage.work(runs)
        options.output.say("Draining them.")
        let receiver = try await EventCounter.start(keepsTimes: false)
        let before = ProcessTree.own.cpuSeconds
        let begin = ContinuousClock.now
        try await stage.publish(subscription, to: receiver) {
            try await receiver.waitFor(events)
        }
        let elapsed = (receiver.lastArrival ?? .now) - begin
        let cpu = ProcessTree.own.cpuSeconds - before
        await receiver.stop()
        try await stage.client.unsubscribe(subscription)
        try receiver.check(events)
        report.set("backlog", events)
        report.add("backlog_seconds", elapsed / .seconds(1))
        report.add("events_per_second", Double(events) / (elapsed / .seconds(1)))
        report.add("bytes_per_event", Double(receiver.bytes) / Double(events))
        report.add("agent_cpu_microseconds_per_event", cpu / Double(events) * 1e6)
        report.add("repeated_events", receiver.repeated)
        report.judge("draining one event", elapsed / .microseconds(1) / Double(events), atMost: 20, "microseconds")
    }

    private func live(_ stage: EventsStage, _ report: inout BenchReport) async throws {
        let subscription = "bench live"
        // What the first run of a tenant writes would make all others wait for a writer that stays open.
        _ = try await stage.work(1)
        try await stage.subscribeAnew(subscription)
        let receiver = try await EventCounter.start(keepsTimes: true)
        options.output.say("Writing \(Spell.count(rate)) events a second for \(Spell.count(seconds)) seconds.")
        let runsPerSecond = Double(rate) / Double(Self.eventsOfRun)
        let (openWriter, seconds) = (openWriter, seconds)
        let began = ContinuousClock.now
        try await stage.publish(subscription, to: receiver) {
            let load: @Sendable () async throws -> Int = {
                try await stage.work(atRunsPerSecond: runsPerSecond, for: .seconds(seconds))
            }
            let events = openWriter ? try await stage.withOpenWriter(load) : try await load()
            try await receiver.waitFor(events)
        }
        let elapsed = (receiver.lastArrival ?? .now) - began
        await receiver.stop()
        try await stage.client.unsubscribe(subscription)
        guard let events = receiver.range else { throw MillraceError(.unexpectedAnswer, "No event arrived.") }
        let commits = try await stage.client.commitTimes(ofEvents: events)
        let latencies = receiver.latencies(since: commits).percentiles
        report.set("rate", rate)
        report.set("seconds", seconds)
        report.add("live_events", receiver.count)
        report.add("live_events_per_second", Double(receiver.count) / (elapsed / .seconds(1)))
        report.set("commits_are_timed", !commits.isEmpty)
        report.add("commit_to_delivery_ms", latencies)
        report.judge("commit to delivery, p99", latencies.p99, atMost: 10, "ms")
    }
}

/// The work that writes events, and the publisher that delivers them.
private struct EventsStage: Sendable {
    let client: Client
    let database: PostgresConfiguration
    let defined: DefinedWorkflow
    let batch: Int

    func subscribeAnew(_ name: String) async throws {
        if try await client.subscriptions().contains(where: { $0.name == name }) { try await client.unsubscribe(name) }
        try await client.subscribe(name, from: .now)
    }

    private var crew: AgentCrew { AgentCrew(1, configuration: AgentConfiguration(), database: database) }

    /// Completes runs as fast as it can. Answers how many events that wrote.
    func work(_ runs: Int) async throws -> Int {
        try await crew.work {
            let ids = try await client.submit(defined, runs: runs)
            return try await finish(ids)
        }
    }

    /// Submits runs at a steady rate, however long each takes. Answers how many events that wrote.
    func work(atRunsPerSecond rate: Double, for duration: Duration) async throws -> Int {
        try await crew.work {
            let begin = ContinuousClock.now
            var ids: [Int64] = []
            while true {
                let elapsed = ContinuousClock.now - begin
                let due = Int(min(elapsed, duration) / .seconds(1) * rate)
                if due > ids.count {
                    ids += try await client.submit(defined, runs: due - ids.count)
                } else if elapsed >= duration {
                    break
                }
                try await Task.sleep(for: .milliseconds(10))
            }
            return try await finish(ids)
        }
    }

    private func finish(_ ids: [Int64]) async throws -> Int {
        try await client.finish(ids, of: defined)
        return try await client.eventCount(of: ids)
    }

    func withOpenWriter(_ body: @escaping @Sendable () async throws -> Int) async throws -> Int {
        try await client.withOpenWriter(workflow: defined.workflow, body)
    }

    /// Publishes while `body` goes on.
    func publish(
        _ subscription: String,
        to receiver: EventCounter,
        while body: @escaping @Sendable () async throws -> Void
    ) async throws {
        var configuration = PublisherConfiguration(subscription: subscription, to: .endpoint(url: receiver.url))
        configuration.reading.batchSize = batch
        let publisher = try configuration.publisher(database, logger: Logger(label: "millrace.bench"))
        let services = ServiceGroup(services: [publisher], logger: Logger(label: "millrace.bench"))
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await services.run()
                return false
            }
            group.addTask {
                try await body()
                return true
            }
            guard try await group.next() == true else {
                throw MillraceError(.unexpectedAnswer, "The publisher ended before all was delivered.")
            }
            await services.triggerGracefulShutdown()
            try await group.waitForAll()
        }
    }
}
