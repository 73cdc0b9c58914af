import Millrace
import MillraceAgent

/// An ``AgentState`` with a clock of its own and a database that is made up.
final class StateHarness {
    var state: AgentState
    var now = ContinuousClock.now
    private var lastStep: Int32 = 0

    init(
        concurrency: Int = 4,
        batchSize: Int = 10,
        flights: Int = 2,
        handlers: [HandlerSlot] = [HandlerSlot(name: "shell", limit: 4)],
        registered: Bool = true
    ) {
        state = AgentState(
            limits: AgentLimits(concurrency: concurrency, tuning: .fixed(batchSize: batchSize, flights: flights)),
            slots: handlers,
            now: now
        )
        if registered { state.registered(as: 1, at: now) }
    }

    /// The age at which a step that waits here is given back.
    var patience: Duration { state.limits.patience }

    static let noop = HandlerSlot(name: "noop", isImmediate: true, limit: 4)

    func advance(by duration: Duration) { now += duration }

    func fly() -> Flight? { state.nextFlight(at: now) }

    func work(_ count: Int, handler: String = "shell", timeout: Double? = nil) -> [Work] {
        (0..<count).map { _ in
            lastStep += 1
            return Work(handOut: HandOut(runID: 1, stepNo: lastStep, token: 1), handler: handler, timeout: timeout)
        }
    }

    func startable() -> [Work] { state.startable(at: now) }

    func overdue() -> [HandOut] { state.overdue(at: now) }

    func revoked(_ handOuts: [HandOut]) -> [HandOut] { state.revoked(handOuts) }

    func stopRunning() -> [HandOut] { state.stopRunning() }

    func registrationLost() -> [HandOut] { state.registrationLost() }

    /// The database has applied all that was reported.
    @discardableResult
    func land(_ flight: Flight, bringing work: [Work] = [], answer: ReportAnswer = .init(answer: .applied)) -> [Work] {
        state.landed(flight, Reported(answers: flight.reports.map { _ in answer }, started: work), at: now)
    }

    /// Claims `count` steps and starts what may start.
    func claim(_ count: Int, handler: String = "shell", timeout: Double? = nil) -> [Work] {
        guard let flight = fly() else { return [] }
        let work = work(count, handler: handler, timeout: timeout)
        land(flight, bringing: work)
        return startable()
    }

    func finish(_ work: Work, _ result: StepResult = .output(nil), elapsed: Double = 1) {
        state.finished(work.handOut, result, elapsed: elapsed, at: now)
    }

    /// Answers flights with nothing until none sets out; the reports they carried.
    func exhaust() -> [StepReport] {
        var reports: [StepReport] = []
        while let flight = fly() {
            reports += flight.reports
            land(flight)
        }
        return reports
    }
}

extension TuningBounds {
    /// Nothing to tune: results wait for 2 ms, 20 ms of work are held ahead.
    static func fixed(batchSize: Int, flights: Int) -> Self {
        TuningBounds(
            batchSize: batchSize...batchSize,
            flights: flights...flights,
            flushDelay: .milliseconds(2) ... .milliseconds(2),
            lookahead: .milliseconds(20) ... .milliseconds(20)
        )
    }
}
