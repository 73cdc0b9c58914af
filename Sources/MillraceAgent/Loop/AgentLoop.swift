import Logging
import Millrace
import Postgres
import ServiceLifecycle
import Synchronization

/// Carries out what an ``AgentState`` decides: flights to the database, handlers, heartbeats.
///
/// Whoever brings news (a flight's answer, a step's end, a notification, the alarm) tells the state under the lock and
/// carries on with what it decides next, so that no step and no flight waits for another task to notice.
final class AgentLoop: Service, Sendable {
    struct Core {
        var state: AgentState
        /// The tasks of running steps, to be cancelled one by one.
        var tasks: [HandOut: Task<Void, Never>] = [:]
        var ending: Ending?
        var isRegistering = false
        /// As agreed on when the agent registered last.
        var protocolNumber = MillraceVersion.protocolNumbers.lowerBound
    }

    /// How the agent comes to its end.
    struct Ending {
        /// When running steps are stopped.
        var stopAt: ContinuousClock.Instant
        /// When what has still not ended is left alone.
        var abandonAt: ContinuousClock.Instant
        var isStopped = false
        /// Whether results can still be reported.
        var canReport: Bool
    }

    /// How long stopped handlers may take to end before the agent goes without them.
    static let abandonAfter = Duration.seconds(10)

    let configuration: AgentConfiguration
    let handlers: [String: any Handler]
    let immediateHandlers: [String: any ImmediateHandler]
    private let batchHandlers: [String: any BatchHandler]
    private let waitingHandlers: [String: any WaitingHandler]
    let client: WorkClient
    let pool: Pool
    let listener: Listener
    let logger: Logger
    let metrics = AgentMetrics()
    let renderer = TemplateRenderer()
    let journal: StepJournal
    private let settingsCache = SettingsCache()
    /// Where large outputs go; nil: nowhere.
    let store: OutputStore?
    let core: Mutex<Core>
    let alarm = Alarm()
    let beats = Alarm()

    init(
        configuration: AgentConfiguration,
        handlers: [String: any Handler],
        pool: Pool,
        listener: Listener,
        logger: Logger
    ) {
        self.configuration = configuration
        self.handlers = handlers
        immediateHandlers = handlers.compactMapValues { $0 as? any ImmediateHandler }
        batchHandlers = handlers.compactMapValues { $0 as? any BatchHandler }
        waitingHandlers = handlers.compactMapValues { $0 as? any WaitingHandler }
        self.pool = pool
        client = WorkClient(pool: pool)
        journal = StepJournal(client: client, logger: logger)
        store = OutputStore(configuration.outputs)
        self.listener = listener
        self.logger = logger
        let slots = handlers.keys.sorted().map { name in
            HandlerSlot(
                name: name,
                isImmediate: handlers[name] is any ImmediateHandler,
                takesBatches: handlers[name] is any BatchHandler,
                limit: configuration.limit(for: name)
            )
        }
        core = Mutex(Core(state: AgentState(limits: configuration.limits, slots: slots, now: .now)))
        listener.handleEvents { [weak self] in self?.hear($0) }
    }

    /// The agent's number in the database, while it has one.
    var agentID: Int32? { core.withLock { $0.state.agentID } }

    func run() async throws {
        try await register()
        // Not a child of the caller: when the caller is cancelled, running handlers still have to be ended in order.
        // On the thread that the alarm goes off on, so that nobody has to be woken when its time has come.
        let conducting = Task(executorPreference: Connection.answerExecutor) { await self.conduct() }
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await conducting.value
            } onGracefulShutdown: {
                self.end(grace: self.configuration.shutdown.gracePeriod, canReport: true)
            }
        } onCancel: {
            self.end(grace: .zero, canReport: false)
        }
    }

    private func end(grace: Duration, canReport: Bool) {
        core.withLock { core in
            let now = ContinuousClock.now
            let stopAt = now + grace
            core.ending = Ending(stopAt: stopAt, abandonAt: stopAt + Self.abandonAfter, canReport: canReport)
            core.state.stopClaiming(at: now)
        }
        logger.info("The agent takes no more work.", metadata: ["grace_seconds": "\(grace.inSeconds)"])
        alarm.ring()
    }

    /// Until the end: flies when the alarm says so, and keeps the lease.
    private func conduct() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepLease() }
            alarm.ring()
            for await _ in alarm.wakes {
                cancel(overdueAndStopped())
                if let flight = advance().flight { setOut(flight, executor: Connection.answerExecutor) }
                if core.withLock({ $0.state.shouldReconcile(at: .now) }) { await reconcile() }
                if takeRegistering() { group.addTask { await self.registerAgain() } }
                if isOver { break }
            }
            group.cancelAll()
        }
        await leave()
    }

    private var isOver: Bool {
        core.withLock { core in
            guard let ending = core.ending else { return false }
            if ContinuousClock.now >= ending.abandonAt { return true }
            return core.tasks.isEmpty && (core.state.isDrained || !ending.canReport || core.state.agentID == nil)
        }
    }

    private func overdueAndStopped() -> [Task<Void, Never>] {
        core.withLock { core in
            let now = ContinuousClock.now
            var handOuts = core.state.overdue(at: now)
            if let ending = core.ending, !ending.isStopped, now >= ending.stopAt {
                core.ending?.isStopped = true
                handOuts += core.state.stopRunning()
            }
            return handOuts.compactMap { core.tasks[$0] }
        }
    }

    /// Tells the state the news, starts what may start, and carries on with what is decided.
    ///
    /// - Returns: the flight that is to set out, for the caller to fly (any further ones fly beside it), and whether
    ///   the news may be what the conductor waits for.
    private func advance(
        after news: (inout AgentState, ContinuousClock.Instant) -> Void = { _, _ in }
    ) -> (flight: Flight?, concernsConductor: Bool) {
        var flights: [Flight] = []
        let concernsConductor = core.withLock { core in
            let now = ContinuousClock.now
            news(&core.state, now)
            start(core.state.startable(at: now), in: &core, at: now)
            while let flight = core.state.nextFlight(at: now) { flights.append(flight) }
            var due = core.state.nextDue()
            if let ending = core.ending {
                let moment = ending.isStopped ? ending.abandonAt : ending.stopAt
                due = due.map { min($0, moment) } ?? moment
            }
            alarm.set(for: due)
            return core.ending != nil || core.state.mayHoldUnknown
        }
        for flight in flights.dropFirst() { setOut(flight) }
        return (flights.first, concernsConductor)
    }

    /// ``advance(after:)`` for all but the conductor, who would never rest if it rang for itself.
    func carryOn(after news: (inout AgentState, ContinuousClock.Instant) -> Void) -> Flight? {
        let (flight, concernsConductor) = advance(after: news)
        if concernsConductor { alarm.ring() }
        return flight
    }

    /// Sends the call on the caller's own thread. Not a child of anybody, for the same reason; `conduct` does not end
    /// before it.
    ///
    /// - Parameter executor: Where to go on with its answer.
    func setOut(_ flight: Flight, executor: (any TaskExecutor)? = nil) {
        Task.immediate(executorPreference: executor) { await self.fly(flight) }
    }

    /// ``carryOn(after:)`` for those who cannot fly themselves.
    func pursue(after news: (inout AgentState, ContinuousClock.Instant) -> Void) {
        if let flight = carryOn(after: news) { setOut(flight) }
    }

    // MARK: Steps

    private func start(_ steps: [Work], in core: inout Core, at now: ContinuousClock.Instant) {
        guard let agentID = core.state.agentID else { return }
        var rest = steps[...]
        while let step = rest.popFirst() {
            guard let handler = handlers[step.handler] else { continue }
            let context = self.context(of: step, agentID: agentID)
            if let batch = step.batch, let handler = batchHandlers[step.handler] {
                let others = rest.prefix { $0.batch == batch }
                rest.removeFirst(others.count)
                let contexts = [context] + others.map { self.context(of: $0, agentID: agentID) }
                core.tasks[step.handOut] = Task { await self.execute(contexts, with: handler) }
                continue
            }
            if let handler = waitingHandlers[step.handler], !LateValues.mayConcern(step) {
                wait(context, handler, in: &core, at: now)
                continue
            }
            // Not a child: it is cancelled alone, when its step times out or is taken away. `conduct` does not end
            // before it.
            core.tasks[step.handOut] = Task { await self.execute(context, with: handler) }
        }
    }

    private func context(of step: Work, agentID: Int32) -> StepContext {
        var context = StepContext(work: step, database: .init(client: client, agentID: agentID), logger: logger)
        context.journal = journal
        context.store = store
        context.settingsCache = settingsCache
        return context
    }

    private func wait(
        _ step: StepContext,
        _ handler: any WaitingHandler,
        in core: inout Core,
        at now: ContinuousClock.Instant
    ) {
        do {
            core.state.waits(step.work.handOut, for: try handler.duration(of: step))
        } catch {
            core.state.finished(step.work.handOut, StepResult(error), elapsed: 0, at: now)
        }
    }

    private func execute(_ step: StepContext, with handler: any Handler) async {
        logger.debug("step started", metadata: ["run_id": "\(step.runID)", "key": "\(step.key)"])
        let begin = ContinuousClock.now
        let result: StepResult
        do {
            result = try await perform(step, with: handler)
        } catch {
            result = StepResult(error)
        }
        let elapsed = (ContinuousClock.now - begin).inSeconds
        core.withLock { $0.state.handlerEnded(step.work.handOut) }
        await journal.close(step.work.handOut)
        logger.debug(
            "step finished",
            metadata: ["run_id": "\(step.runID)", "key": "\(step.key)", "seconds": "\(elapsed)"]
        )
        core.withLock { _ = $0.tasks.removeValue(forKey: step.work.handOut) }
        // Not on this task: it may have been cancelled, and no call could be made on it.
        pursue { $0.finished(step.work.handOut, result, elapsed: elapsed, at: $1) }
    }

    /// What the database has left open.
    func lateValues(of step: Work) async throws -> LateValues? {
        guard store != nil || LateValues.mayConcern(step) else { return nil }
        let secrets = Secrets(sources: configuration.secrets)
        return try await LateValues(step, renderer: renderer, secrets: secrets, store: store)
    }

    /// With what the database has left open, and without secrets in what comes of it.
    private func perform(_ step: StepContext, with handler: any Handler) async throws -> StepResult {
        var step = step
        step.late = try await lateValues(of: step.work)
        let redaction = step.late?.redaction ?? Redaction([])
        let result: StepResult
        do {
            result = try await handler.run(step).result.redacted(by: redaction)
        } catch {
            return StepResult(error).redacted(by: redaction)
        }
        guard let store, case .output(let json?) = result else { return result }
        return .output(try await store.put(json, of: step))
    }

    func cancel(_ tasks: [Task<Void, Never>]) {
        for task in tasks { task.cancel() }
    }
}
