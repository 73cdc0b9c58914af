import Postgres

/// The life of one step, as docs/state_machine.md draws it.
struct StepOracle: Sendable {
    enum State: Equatable, Sendable {
        case pending, running, completed, failed, skipped, cancelled
        /// Has no event of its own: what ended the last need, or gave the step back, says so.
        case ready
        case waiting(until: Timestamp)

        var isTerminal: Bool {
            switch self {
            case .completed, .failed, .skipped, .cancelled: true
            case .pending, .running, .ready, .waiting: false
            }
        }

        var name: String {
            if case .waiting = self { "waiting" } else { "\(self)" }
        }
    }

    /// One hand-out: the n-th has token n.
    struct Start: Sendable {
        var agentID: Int32?
        var transaction: Int64
        /// The event that ended it.
        var end: LoggedEvent?
    }

    let definition: WorkflowPlan.Step
    private(set) var state = State.pending
    private(set) var attempts: Int32 = 0
    private(set) var starts: [Start] = []
    /// An operator has set it back: then it need not wait out its delay again.
    private(set) var wasReset = false
    private(set) var isResolved = false
    private(set) var endedAt: Timestamp?

    init(_ definition: WorkflowPlan.Step) { self.definition = definition }

    /// - Parameters:
    ///   - needs: the steps it needs, as they are now.
    ///   - isPostponed: its run may begin later.
    mutating func apply(_ event: LoggedEvent, needs: [StepOracle], isPostponed: Bool, lostLimit: Int32) throws {
        let before = state
        switch event.kind {
        case "step_started":
            try requireStartable(event, needs: needs, isPostponed: isPostponed)
            attempts += 1
            try require(event.attempt == attempts, "attempt \(attempts) expected")
            starts.append(Start(agentID: event.agentID, transaction: event.transaction))
            state = .running
        case "step_waiting":
            guard let dueAt = event.dueAt else { throw OracleError("no due_at") }
            if state == .running {
                try require(["failed", "timed_out"].contains(event.outcome), "only a failed try is followed by a wait")
                try require(Int(attempts) <= definition.retryLimit, "no retries were left")
            } else {
                try require(definition.delay != nil || (isPostponed && needs.isEmpty), "nothing to wait for")
                try requireDecided(needs)
                try require(ruleHolds(needs), "its rule does not hold")
            }
            state = .waiting(until: dueAt)
        case "step_released":
            try require(state == .running, "not running")
            if event.reason == "agent lost" {
                try require(attempts <= max(Int32(definition.retryLimit), lostLimit), "lost too often")
            } else {
                attempts -= 1
            }
            state = .ready
        case "step_completed":
            try require(state == .running, "not running")
            state = .completed
        case "step_failed":
            try require(state == .running, "not running")
            switch event.outcome {
            case "fatal": break
            case "failed", "timed_out": try require(Int(attempts) > definition.retryLimit, "retries were left")
            case "lost": try require(attempts > max(Int32(definition.retryLimit), lostLimit), "losses were left")
            default: throw OracleError("outcome \(event.outcome ?? "null")")
            }
            state = .failed
        case "step_skipped":
            try require(state == .pending, "not pending")
            try requireDecided(needs)
            try require(!ruleHolds(needs), "its rule holds")
            state = .skipped
        case "step_cancelled":
            try require(!state.isTerminal, "has ended")
            state = .cancelled
        case "step_resolved":
            try require(state == .failed, "not failed")
            (state, isResolved) = (.completed, true)
        case "step_reset":
            try require([.failed, .skipped, .cancelled].contains(state), "has not ended badly")
            (state, attempts, wasReset) = (.pending, 0, true)
        default:
            throw OracleError("an unknown kind")
        }
        if before == .running {
            try require(event.kind == "step_cancelled" || event.agentID == starts.last?.agentID, "by another agent")
            starts[starts.count - 1].end = event
        }
        endedAt = state.isTerminal ? event.at : nil
    }

    /// What follows from the end of the last need: a step that has not to wait, and is not to be skipped, is ready. It
    /// stays so, even if a need is set back before it starts.
    mutating func becomeReady(needs: [StepOracle], isPostponed: Bool) {
        guard state == .pending, definition.delay == nil, !(isPostponed && needs.isEmpty) else { return }
        if needs.allSatisfy(\.state.isTerminal), ruleHolds(needs) { state = .ready }
    }

    private func requireStartable(_ event: LoggedEvent, needs: [StepOracle], isPostponed: Bool) throws {
        switch state {
        case .ready: break
        case .waiting(let dueAt): try require(dueAt <= event.at, "its time has not come")
        case .pending:
            try requireDecided(needs)
            try require(ruleHolds(needs), "its rule does not hold")
            // A run's not_before may have been over when it was submitted.
            let mayStart = wasReset || (isPostponed && needs.isEmpty && definition.delay == nil)
            try require(mayStart, "its delay was left out")
        default: throw OracleError("\(state.name)")
        }
        for need in needs {
            try require(
                need.endedAt.map { $0 <= event.at } ?? true,
                "started before its need “\(need.definition.key)” ended"
            )
        }
    }

    private func requireDecided(_ needs: [StepOracle]) throws {
        if let open = needs.first(where: { !$0.state.isTerminal }) {
            throw OracleError("its need “\(open.definition.key)” is \(open.state.name)")
        }
    }

    private func ruleHolds(_ needs: [StepOracle]) -> Bool {
        definition.rule == .allDone || needs.allSatisfy { $0.state == .completed }
    }
}

struct OracleError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func require(_ condition: Bool, _ otherwise: @autoclosure () -> String) throws {
    if !condition { throw OracleError(otherwise()) }
}
