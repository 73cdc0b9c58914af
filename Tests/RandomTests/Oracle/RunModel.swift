import Millrace
import MillraceTestSupport
import Postgres

/// A run, replayed from its log by what the documents say of the language, and by nothing else.
final class RunModel {
    enum State: String { case unborn, running, paused, completed, failed, cancelled }

    let runID: Int64
    var plan: PlannedWorkflow
    var version: Int
    let input: JSONValue
    let priority: Int
    /// It may begin later than it was submitted.
    let isPostponed: Bool
    unowned let world: World
    var state = State.unborn
    private(set) var steps: [Int32: StepModel] = [:]
    private(set) var byKey: [String: StepModel] = [:]
    private(set) var log: [LoggedEvent] = []
    var phase = Phase.main
    /// What became of the main steps.
    var endsAs: State?
    /// Steps are being cancelled: nothing comes between, until the run has ended or its next phase begins.
    var isCancelling = false
    private var reopened: [StepModel] = []
    /// It moves to another version: what that drops has been told of.
    var isMigrating = false
    /// What it keeps of another run, while the log tells of that.
    private(set) var fork: Fork?
    /// What one of its steps has added to it.
    private(set) var growth: PlannedStep.Growth?

    init(
        _ runID: Int64,
        of workflow: String,
        version: Int,
        input: JSONValue,
        priority: Int,
        isPostponed: Bool,
        in world: World
    ) throws {
        (self.runID, self.version, self.input, self.world) = (runID, version, input, world)
        plan = try world.plan(of: workflow, version: version)
        (self.priority, self.isPostponed) = (priority, isPostponed)
        for (steps, phase) in [(plan.steps, Phase.main), (plan.finally, .final)] {
            for step in steps {
                add(StepModel(step, number: world.number(of: step.key, in: self), phase: phase))
            }
        }
        for step in byKey.values { connect(step) }
    }

    func add(_ step: StepModel) {
        steps[step.number] = step
        if step.place == nil, step.undoes == nil { byKey[step.plan.key] = step }
    }

    func remove(_ step: StepModel) { (steps[step.number], byKey[step.plan.key]) = (nil, nil) }

    func connect(_ step: StepModel) {
        for need in step.plan.needs.compactMap({ byKey[$0] }) {
            step.needs.append(need)
            need.dependents.append(step)
        }
        if let target = step.plan.onError.flatMap({ byKey[$0] }) {
            target.standsInFor.append(step)
            step.dependents.append(target)
        }
    }

    var n: Int? { input["n"]?.int }
    var isAlive: Bool { state == .running || state == .paused }
    var hasEnded: Bool { !isAlive && state != .unborn }
    var main: some Sequence<StepModel> { byKey.values.lazy.filter { !$0.isFinally } }
    var oneFailed: Bool { byKey.values.contains(where: \.isUnhandled) }

    /// What the run has come to.
    var result: StepModel.Output {
        guard let step = byKey[plan.result] else { return .unknown }
        guard case .known(let value) = step.output else { return .unknown }
        return .known(["v": step.state == .completed ? value?.all("v").first ?? .null : .null])
    }

    // MARK: Replay

    func apply(_ event: LoggedEvent) throws {
        log.append(event)
        if event.kind != "step_reset", event.kind != "step_resolved" { settleReopened(runAgain: true) }
        let isKept = event.data?["kept_from"] != nil
        if !isKept { try beginFork() }
        guard let number = event.stepNo else { return try applyToRun(event) }
        guard let step = steps[number] else { throw Contradiction("there is no step \(number)") }
        do {
            try require(!isCancelling || event.kind == "step_cancelled", "the run is being cancelled")
            if isKept { try keep(step, event) } else { try apply(event, to: step) }
        } catch {
            throw Contradiction("\(step.name), \(step.state): \(error)")
        }
        step.isTold = true
        if event.kind == "step_resolved" { settleReopened(runAgain: false) }
        settle(step, at: event.at)
        for dependent in step.dependents { settle(dependent, at: event.at) }
        if step.undoes != nil { undoNext(at: event.at) }
    }

    private func applyToRun(_ event: LoggedEvent) throws {
        switch event.kind {
        case "run_submitted":
            try require(state == .unborn, "submitted twice")
            state = .running
            fork = try fork(event)
            for step in main { settle(step, at: event.at) }
        case "run_paused":
            try require(state == .running, "the run is \(state)")
            state = .paused
        case "run_resumed":
            try require(state == .paused, "the run is \(state)")
            state = .running
        case "run_ending": try end(event)
        case "run_completed", "run_failed", "run_cancelled":
            try require(isAlive, "the run is \(state)")
            try require(phase == .final || plan.finally.isEmpty, "its steps of finally have not run")
            try requireEnded(byKey.values)
            try requireEnded(steps.values.lazy.filter { $0.isTold || $0.undoes != nil })
            try require(event.data?["not_compensated"] == notCompensated, "what was not undone: \(notCompensated?.json ?? "nothing")")
            let isCancelled = isCancelling && event.kind == "run_cancelled" || endsAs == .cancelled
            let expected: State = isCancelled ? .cancelled : oneFailed ? .failed : .completed
            try require(event.kind == "run_\(expected)", "its steps have ended as \(expected)")
            state = expected
        case "run_reopened":
            try require(hasEnded, "the run is \(state)")
            state = .running
            undoNext(at: event.at)
        case "run_grown": try grow(event)
        case "run_migrated": try migrate(event)
        default: throw Contradiction("an unknown kind")
        }
        isCancelling = false
    }

    func requireEnded(_ steps: some Sequence<StepModel>) throws {
        if let open = steps.first(where: { !$0.state.isTerminal }) {
            throw Contradiction("step \(open.name) is \(open.state)")
        }
    }

    // MARK: What follows

    /// What is kept has been told of: the rest runs.
    private func beginFork() throws {
        guard let begun = fork else { return }
        try requireAllKept(of: begun)
        fork = nil
        for step in main { settle(step, at: begun.at) }
    }

    /// Once all that a pending step waits for has ended it may start, or is to be skipped.
    func settle(_ step: StepModel, at: Timestamp) {
        guard fork == nil, !isMigrating, step.state == .pending, step.place == nil, step.phase == phase,
            !reopened.contains(where: { $0 === step }),
            let verdict = step.verdict
        else { return }
        switch verdict {
        case .start:
            let context = context(of: step)
            let holds = step.plan.conditions.allSatisfy { $0.isInSQL || $0.holds(in: context) == true }
            (step.readyAt, step.readySince) = (at, at)
            step.state =
                !holds ? .doomed(fallen: false, byCondition: true) : step.plan.delay == nil ? .ready : .due
        case .skip: step.state = .doomed(fallen: false, byCondition: false)
        case .fall: step.state = .doomed(fallen: true, byCondition: false)
        }
    }

    /// Steps that were set back wait for those of their needs that were, too. Those that are to run again and have none of
    /// these do so, whatever their rule says: they had begun, or would have.
    private func settleReopened(runAgain: Bool) {
        let steps = reopened
        reopened = []
        for step in steps where step.phase == phase && step.state == .pending {
            if runAgain, step.waitsForNone {
                step.becomeReady(at: step.readyAt!)
            } else {
                settle(step, at: step.readyAt!)
            }
        }
    }

    /// A step, of a run that may have ended, is set back or resolved.
    func reopen(_ step: StepModel, at: Timestamp) {
        if step.state == .pending {
            step.readyAt = at
            reopened.append(step)
        }
        guard hasEnded else { return }
        if !step.isFinally {
            (phase, endsAs) = (.main, nil)
        } else if phase == .final, endsAs != .cancelled {
            endsAs = main.contains(where: \.isUnhandled) ? .failed : .completed
        }
    }

    func context(of step: StepModel) -> Condition.Context {
        var needs: [String: JSONValue] = [:]
        for need in step.needs where need.state == .completed { needs[need.plan.key] = need.output.value }
        return Condition.Context(n: n, needs: needs, ended: endsAs?.rawValue)
    }

    // MARK: Further steps

    /// - Returns: what a step is spread over, nil where that is no array.
    func items(of step: StepModel) -> [JSONValue]? {
        let found: JSONValue? =
            switch step.plan.fanOut!.source {
            case .items: input["items"]
            case .need(let key): context(of: step).needs[key]
            }
        guard case .array(let items)? = found else { return nil }
        guard let chunk = step.plan.fanOut!.chunk else { return items }
        return stride(from: 0, to: items.count, by: chunk).map { .array(Array(items[$0..<min($0 + chunk, items.count)])) }
    }

    /// A step begins to be spread. One that was before, over the same, goes on where it was.
    func spread(_ step: StepModel, _ event: LoggedEvent) throws {
        let items = items(of: step)
        step.hasNoItems = items == nil
        let count = event.data?["elements"]?.int ?? 0
        try require(count == items?.count ?? 0, "it has \(items?.count ?? 0) elements")
        guard count > 0, let items else { return }
        guard let first = event.data?["first_step"]?.int.map(Int32.init) else { throw Contradiction("no first_step") }
        guard step.elements.first?.number != first else { return }
        try require(first > 1_000_000 && steps[first] == nil, "the number \(first) is taken")
        step.elements = items.enumerated().map { index, item in
            let element = StepModel(step.plan, number: first + Int32(index), phase: step.phase, place: (step, index, item))
            element.becomeReady(at: event.at)
            return element
        }
        for element in step.elements { add(element) }
    }

    private func grow(_ event: LoggedEvent) throws {
        try require(isAlive && phase == .main, "the run is \(state)")
        guard let by = event.data?["by_step"]?.int.flatMap({ steps[Int32($0)] }), let growth = by.plan.growth else {
            throw Contradiction("no step that grows")
        }
        guard case .running(.some) = by.state else { throw Contradiction("\(by.name) is \(by.state)") }
        let added = try add(growth)
        try require(event.data?["steps"]?.int == added.count, "\(added.count) steps were added")
        try require(event.data?["first_step"]?.int == added.map { Int($0.number) }.min(), "other numbers")
        for step in added { settle(step, at: event.at) }
    }

    /// - Returns: the steps that the run has gained.
    @discardableResult
    func add(_ growth: PlannedStep.Growth) throws -> [StepModel] {
        let added = growth.steps.map { StepModel($0, number: world.number(of: $0.key, in: self), phase: .main) }
        for step in added {
            try require(steps[step.number] == nil && byKey[step.plan.key] == nil, "\(step.name) is there already")
            add(step)
        }
        if let waiting = growth.waiting.flatMap({ byKey[$0] }) {
            try require(waiting.state == .pending, "\(waiting.name) is past pending: \(waiting.state)")
        }
        for step in added { connect(step) }
        connect(growth)
        self.growth = growth
        return added
    }

    /// A step of the run comes to need the last of those that were added.
    func connect(_ growth: PlannedStep.Growth) {
        guard let waiting = growth.waiting.flatMap({ byKey[$0] }), let last = growth.steps.last.flatMap({ byKey[$0.key] })
        else { return }
        waiting.needs.append(last)
        last.dependents.append(waiting)
    }
}
