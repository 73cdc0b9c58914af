/// The life of one run, replayed from its log by what docs/state_machine.md says, and by nothing else.
struct RunOracle: Sendable {
    enum State: String, Sendable { case unborn, running, paused, completed, failed, cancelled }

    let plan: RunPlan
    private(set) var steps: [Int32: StepOracle] = [:]
    private(set) var state = State.unborn
    private let needs: [Int32: [Int32]]
    private let dependents: [Int32: [Int32]]
    private let lostLimit: Int32
    /// The steps are being cancelled: nothing comes between, until the run has ended.
    private var isEnding = false
    /// Steps of an ended run were set back: nothing comes between, until the run goes on.
    private var isReopening = false

    /// - Parameter numbers: the engine's step numbers, by key.
    init(_ plan: RunPlan, numbers: [String: Int32], lostLimit: Int32) throws {
        self.plan = plan
        self.lostLimit = lostLimit
        var needs: [Int32: [Int32]] = [:]
        for step in plan.workflow.steps {
            guard let number = numbers[step.key] else { throw OracleError("step \(step.key) is missing") }
            steps[number] = StepOracle(step)
            needs[number] = step.needs.map { numbers[plan.workflow.steps[$0].key]! }
        }
        self.needs = needs
        dependents = needs.reduce(into: [:]) { dependents, entry in
            for need in entry.value { dependents[need, default: []].append(entry.key) }
        }
    }

    private var isAlive: Bool { state == .running || state == .paused }
    private var hasEnded: Bool { !isAlive && state != .unborn }
    private var allEnded: Bool { steps.values.allSatisfy(\.state.isTerminal) }
    private var oneFailed: Bool { steps.values.contains { $0.state == .failed } }

    mutating func apply(_ event: LoggedEvent) throws {
        if let stepNo = event.stepNo { try apply(event, to: stepNo) } else { try applyToRun(event) }
    }

    private mutating func applyToRun(_ event: LoggedEvent) throws {
        switch event.kind {
        case "run_submitted":
            try require(state == .unborn, "submitted twice")
            state = .running
            for stepNo in needs.keys { becomeReady(stepNo) }
        case "run_paused":
            try require(state == .running, "the run is \(state)")
            state = .paused
        case "run_resumed":
            try require(state == .paused, "the run is \(state)")
            state = .running
        case "run_completed":
            try require(isAlive && allEnded && !oneFailed, "the run is \(state), its steps have not all completed")
            state = .completed
        case "run_failed":
            try require(
                isAlive && allEnded && oneFailed,
                "the run is \(state), its steps have not all ended, or none failed"
            )
            state = .failed
        case "run_cancelled":
            try require(isAlive && allEnded, "the run is \(state), its steps have not all ended")
            state = .cancelled
        case "run_reopened":
            try require((state == .failed || state == .cancelled) && isReopening, "the run is \(state)")
            state = .running
        default:
            throw OracleError("an unknown kind")
        }
        (isEnding, isReopening) = (false, false)
    }

    private mutating func apply(_ event: LoggedEvent, to stepNo: Int32) throws {
        guard var step = steps[stepNo] else { throw OracleError("there is no step \(stepNo)") }
        try require(!isEnding || event.kind == "step_cancelled", "the run is being cancelled")
        switch event.kind {
        case "step_reset", "step_resolved": isReopening = hasEnded
        case "step_started": try require(state == .running, "the run is \(state)")
        case "step_cancelled":
            try require(isAlive, "the run is \(state)")
            isEnding = true
        default: try require(isAlive, "the run is \(state)")
        }
        try step.apply(
            event,
            needs: needs[stepNo]!.map { steps[$0]! },
            isPostponed: plan.isPostponed,
            lostLimit: lostLimit
        )
        steps[stepNo] = step
        becomeReady(stepNo)
        for dependent in dependents[stepNo] ?? [] { becomeReady(dependent) }
    }

    private mutating func becomeReady(_ stepNo: Int32) {
        let needs = needs[stepNo]!.map { steps[$0]! }
        steps[stepNo]!.becomeReady(needs: needs, isPostponed: plan.isPostponed)
    }
}
