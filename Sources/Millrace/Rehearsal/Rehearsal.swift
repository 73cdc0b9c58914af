import Foundation
import Postgres

/// Executes a workflow on a real engine with given handler outputs and a clock that jumps to whatever is due next.
///
/// The engine is the whole one, in a database of its own that is dropped afterwards; only the agent is played: it
/// claims and reports through the same calls as any other.
public struct Rehearsal: Sendable {
    public var definition: WorkflowDefinition
    public var script: RehearsalScript
    /// Engine time after which a run that has not ended is left alone, in seconds.
    public var patience: Double = 366 * 86_400

    public init(_ definition: WorkflowDefinition, script: RehearsalScript) {
        self.definition = definition
        self.script = script
    }

    /// - Parameter server: Any database of a server on which we may create others.
    public func run(on server: PostgresConfiguration) async throws -> RehearsalReport {
        try await ThrowawayDatabase.with(on: server) { database in
            var configuration = Pool.Configuration()
            configuration.min = 1
            configuration.max = 2
            configuration.failsFast = true
            return try await Pool.with(database, configuration: configuration) { pool in
                if let setup = script.setup {
                    _ = try await pool.withConnection { try await $0.execute(script: setup) }
                }
                var stage = RehearsalStage(self, pool: pool)
                return try await stage.play()
            }
        }
    }
}

/// One rehearsal while it goes on.
struct RehearsalStage {
    private let rehearsal: Rehearsal
    private let client: Client
    private let work: WorkClient
    private var agent: Int32 = 0
    /// Seconds since 1970, by the engine's clock.
    private var now: Double
    private var starts: [RehearsalReport.Start] = []
    private var flights: [Flight] = []
    private var outside: RehearsalOutside

    /// A try in execution: where it stands among the starts, and when and how it will end.
    private struct Flight {
        var start: Int
        var handOut: HandOut
        var endsAt: Double
        var ending: RehearsalScript.Ending
    }

    /// The longest jump while a lease is to be kept.
    private static let longestJump = 1800.0

    init(_ rehearsal: Rehearsal, pool: Pool) {
        self.rehearsal = rehearsal
        client = Client(pool: pool)
        work = WorkClient(pool: pool)
        outside = RehearsalOutside(rehearsal.script)
        now = rehearsal.script.start.timeIntervalSince1970
    }

    mutating func play() async throws -> RehearsalReport {
        try await client.setClock(Date(timeIntervalSince1970: now))
        for definition in rehearsal.script.workflows { _ = try await client.define(definition) }
        let defined = try await client.define(rehearsal.definition)
        try await register()
        let run = try await client.submit(Submission(workflow: defined.workflow, input: rehearsal.script.input))
        let begin = now
        while true {
            let due = try await keepUp()
            if try await client.run(run).isOver { break }
            try await hear(since: begin)
            if let ending = nextEnding(until: now) {
                try await end(ending)
            } else if try await tell(run, since: begin) {
                continue
            } else if let claimed = try await claim() {
                try await start(claimed, since: begin)
            } else if let next = [due, flights.map(\.endsAt).min(), outside.next(since: begin)].compactMap(\.self).min(),
                next <= begin + rehearsal.patience
            {
                try await jump(to: next)
            } else {
                break
            }
        }
        return try await report(run, since: begin)
    }

    // MARK: Time

    /// Does all that is due.
    ///
    /// - Returns: When something will be.
    private func keepUp() async throws -> Double? {
        while true {
            guard let due = try await client.keep()?.timeIntervalSince1970 else { return nil }
            if due > now { return due }
        }
    }

    private mutating func jump(to time: Double) async throws {
        let bound = flights.isEmpty ? time : min(time, now + Self.longestJump)
        // The database counts microseconds.
        now = max(bound, now + 0.000_001)
        try await client.setClock(Date(timeIntervalSince1970: now))
        guard !flights.isEmpty else { return }
        let beat = try await work.heartbeat(agent: agent)
        for revoked in beat.revoked {
            guard let place = flights.firstIndex(where: { $0.handOut == revoked.handOut }) else { continue }
            starts[flights[place].start].outcome = revoked.reason.rawValue
            flights.remove(at: place)
        }
    }

    // MARK: Work

    private mutating func register() async throws {
        let all = [rehearsal.definition] + rehearsal.script.workflows
        let queues = Set(all.flatMap(\.queues)).union(["default"])
        let handlers = Set(all.flatMap(\.handlers)).union(["noop"])
        agent = try await work.register(
            queues: queues.sorted(),
            handlers: handlers.sorted(),
            name: "rehearsal",
            lease: .seconds(3600),
            listening: false
        ).agentID
    }

    /// One step at a time, so that the path has an order.
    private mutating func claim() async throws -> Work? {
        for beat in 1...40 {
            do throws(MillraceError) {
                if let claimed = try await work.claim(agent: agent, capacity: Capacity(maxSteps: 1)).first {
                    return claimed
                }
            } catch {
                // Forgotten, for its lease was over a day ago.
                guard error.code == .unknownAgent, flights.isEmpty else { throw error }
                try await register()
                continue
            }
            // The keeper in the background may have made a step ready at this very moment.
            guard try await client.hasReadySteps(), beat < 40 else { return nil }
            try await Task.sleep(for: .milliseconds(5))
        }
        return nil
    }

    private mutating func start(_ claimed: Work, since begin: Double) async throws {
        let given = rehearsal.script.ending(of: claimed, in: rehearsal.definition.name)
        let executes = given == nil && claimed.handler == "sql"
        starts.append(
            RehearsalReport.Start(
                step: name(of: claimed),
                attempt: Int(claimed.attempt),
                at: now - begin,
                input: try claimed.input.map { try JSONValue(json: String(decoding: $0, as: UTF8.self)) },
                isMocked: given != nil
            )
        )
        var ending = given ?? rehearsal.script.others ?? RehearsalScript.Ending()
        if executes {
            guard try await execute(claimed, begin) else { return }
            return
        }
        if given == nil, claimed.handler == "sleep" { ending.delay = try Self.sleep(claimed) }
        if let timeout = claimed.timeout, ending.delay > timeout {
            ending = RehearsalScript.Ending()
            (ending.outcome, ending.error, ending.delay) = (.timedOut, "timed out after \(timeout) s", timeout)
        }
        flights.append(
            Flight(start: starts.count - 1, handOut: claimed.handOut, endsAt: now + ending.delay, ending: ending)
        )
    }

    /// Runs the statement of a step of handler `sql`, as an agent would.
    private mutating func execute(_ claimed: Work, _ begin: Double) async throws -> Bool {
        let start = starts.count - 1
        do throws(MillraceError) {
            try await work.executeSQL(agent: agent, claimed.handOut)
            (starts[start].outcome, starts[start].endedAt) = (Outcome.completed.rawValue, now - begin)
            return true
        } catch {
            var ending = RehearsalScript.Ending()
            ending.outcome = .failed
            ending.error = [error.sqlState, error.message].compactMap(\.self).joined(separator: ": ")
            ending.errorClass = error.sqlState.map { "sql:\($0)" }
            flights.append(Flight(start: start, handOut: claimed.handOut, endsAt: now, ending: ending))
            return false
        }
    }

    private func name(of claimed: Work) -> String {
        let element = claimed.element.map { "[\($0)]" } ?? ""
        let workflow = claimed.workflow == rehearsal.definition.name ? "" : "\(claimed.workflow)/"
        return "\(workflow)\(claimed.key)\(element)"
    }

    /// What ends first, and among those what began first.
    private func nextEnding(until time: Double) -> Flight? {
        flights.filter { $0.endsAt <= time }.min { ($0.endsAt, $0.start) < ($1.endsAt, $1.start) }
    }

    private mutating func end(_ flight: Flight) async throws {
        flights.removeAll { $0.handOut == flight.handOut }
        let report = StepReport(
            handOut: flight.handOut,
            outcome: flight.ending.outcome,
            output: flight.ending.output?.json,
            error: flight.ending.error,
            errorClass: flight.ending.errorClass,
            elapsed: flight.ending.delay
        )
        let answer = try await work.report(agent: agent, [report], capacity: nil).answers.first
        starts[flight.start].outcome = flight.ending.outcome.rawValue
        starts[flight.start].error = flight.ending.error
        starts[flight.start].endedAt = starts[flight.start].at + flight.ending.delay
        guard let answer, answer.answer != .applied else { return }
        starts[flight.start].outcome = answer.answer.rawValue
        starts[flight.start].error = answer.message
        // The step is still the agent's: an agent says then that it has failed.
        guard answer.answer == .rejected else { return }
        var refused = report
        (refused.outcome, refused.output, refused.error) = (.fatal, nil, answer.message)
        _ = try await work.report(agent: agent, [refused], capacity: nil)
    }

    private static func sleep(_ claimed: Work) throws -> Double {
        guard let settings = claimed.settings else { return 0 }
        return switch try JSONValue(json: String(decoding: settings, as: UTF8.self))["seconds"] {
        case .integer(let seconds): Double(seconds)
        case .number(let seconds): seconds
        default: 0
        }
    }

    // MARK: What comes from outside

    /// Looks for steps that wait for a person; where the script has an answer, it is given after its delay.
    private mutating func hear(since begin: Double) async throws {
        let main = rehearsal.definition.name
        for question in try await client.questions() {
            guard let attempt = outside.count(question),
                let ending = rehearsal.script.ending(
                    of: question.key, question.workflow, element: nil, attempt: attempt, in: main)
            else { continue }
            let name = (question.workflow == main ? "" : "\(question.workflow)/") + question.key
            starts.append(
                RehearsalReport.Start(step: name, attempt: attempt, at: question.since - begin, isMocked: true)
            )
            outside.answers.append(
                .init(start: starts.count - 1, question: question, at: question.since + ending.delay, ending: ending)
            )
        }
    }

    /// Sends a signal or gives an answer that is due.
    ///
    /// - Returns: Whether there was one.
    private mutating func tell(_ run: Int64, since begin: Double) async throws -> Bool {
        if let signal = outside.signals.last, begin + signal.at <= now {
            outside.signals.removeLast()
            try await client.send(signal, to: run)
            return true
        }
        guard let answer = outside.answer(until: now) else { return false }
        do throws(MillraceError) {
            try await client.answer(answer.question, answer.ending.output)
            (starts[answer.start].outcome, starts[answer.start].endedAt) = ("completed", now - begin)
        } catch {
            // It came too late, or does not fit what was asked for; the step goes on waiting.
            (starts[answer.start].outcome, starts[answer.start].error) = ("rejected", error.message)
        }
        return true
    }

    // MARK: What came of it

    private func report(_ run: Int64, since begin: Double) async throws -> RehearsalReport {
        let summary = try await client.run(run)
        var steps: [RehearsalReport.Step] = []
        for step in try await client.steps(of: run) where !steps.contains(where: { $0.key == step.key }) {
            let isOver = ["completed", "failed", "skipped", "cancelled"].contains(step.state)
            steps.append(
                RehearsalReport.Step(
                    key: step.key,
                    state: step.state,
                    attempts: step.attempts,
                    error: step.error,
                    output: try await client.output(of: step.key, run: run),
                    reason: isOver ? nil : try await client.whyNotReady(run, key: step.key).reason
                )
            )
        }
        var report = RehearsalReport(
            workflow: summary.workflow,
            state: summary.state,
            seconds: now - begin,
            starts: starts,
            steps: steps,
            violations: []
        )
        report.violations = rehearsal.script.expectation.violations(report)
        return report
    }
}

extension WorkflowDefinition {
    /// All handlers that it names.
    fileprivate var handlers: [String] {
        (steps.map(\.handler) + compensations.compactMap { $0["handler"]?.text }).filter { !$0.isEmpty }
    }

    fileprivate var queues: [String] { steps.map(\.queue) + compensations.compactMap { $0["queue"]?.text } }

    private var compensations: [JSONValue] {
        guard case .array(let steps) = (try? JSONValue(json: json))?["steps"] else { return [] }
        return steps.compactMap { $0["compensate"] }
    }
}

extension Client {
    /// Whether any step of the database waits to be handed out.
    fileprivate func hasReadySteps() async throws(MillraceError) -> Bool {
        let sql = "select exists (select from millrace.steps where state = 'ready')"
        return try await row(sql) { row throws(PostgresError) in try row.decode(0) }
    }
}
