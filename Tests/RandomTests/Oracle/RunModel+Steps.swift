import Millrace
import MillraceTestSupport
import Postgres

extension RunModel {
    func apply(_ event: LoggedEvent, to step: StepModel) throws {
        switch event.kind {
        case "step_started": try start(step, event)
        case "step_waiting": try wait(step, event)
        case "step_released": try release(step, event)
        case "step_completed": try complete(step, event)
        case "step_failed": try fail(step, event)
        case "step_skipped": try skip(step, event)
        case "step_cancelled": try cancel(step)
        case "step_assigned", "step_answered":
            guard case .held = step.state else { throw Contradiction("nobody is asked") }
        case "step_resolved": try resolve(step, event)
        case "step_reset": try reset(step, event)
        default: throw Contradiction("an unknown kind")
        }
    }

    // MARK: Beginnings

    /// A step gets past its rule, its conditions, its delay: all that lies between pending and the first thing it does.
    private func enter(_ step: StepModel, _ event: LoggedEvent) throws {
        try require(state == .running, "the run is \(state)")
        try require(phase == step.phase, "its phase is not that of the run")
        try requireReady(step, event)
        let context = context(of: step)
        try require(
            step.place != nil || step.plan.conditions.allSatisfy { !$0.isInSQL || $0.holds(in: context) == true },
            "a condition in SQL does not hold"
        )
        if let (parent, _, _) = step.place {
            try require(parent.state == .running(agent: nil), "the step is \(parent.state)")
            if !step.hasBegun, let bound = parent.plan.fanOut?.parallel {
                try require(parent.elementsUnderWay < bound, "\(parent.elementsUnderWay) elements are under way")
            }
        }
        (step.hasBegun, step.isKept) = (true, false)
    }

    private func requireReady(_ step: StepModel, _ event: LoggedEvent) throws {
        switch step.state {
        case .ready, .gathering: break
        case .sleeping(let until): try require(until <= event.at, "its time has not come")
        // A run's not_before may have been over when it was submitted.
        case .due where isPostponed && step.needs.isEmpty: break
        default: throw Contradiction("may not start")
        }
    }

    private func count(_ step: StepModel, _ event: LoggedEvent) throws {
        step.attempts += 1
        try require(event.attempt == step.attempts, "attempt \(step.attempts) expected")
    }

    private func start(_ step: StepModel, _ event: LoggedEvent) throws {
        try enter(step, event)
        try count(step, event)
        step.state = .running(agent: event.agentID)
        if step.isSpread {
            try require(event.agentID == nil, "an agent has got it")
            return try spread(step, event)
        }
        switch step.plan.work {
        case .handler:
            try require(event.agentID != nil, "no agent")
            try requireInWindow(step, event)
            try require(step.plan.batch == nil || step.isGathered || isUrgent(step), "its batch was left out")
            step.isHandedOut = true
            step.prospect = .known(step.undoes == nil ? prospect(of: step) : prospect(ofUndoing: step))
        case .workflow(let name):
            try require(event.agentID == nil, "an agent has got it")
            step.childRun = event.data?["run_id"]?.int.map(Int64.init)
            guard let child = step.childRun.flatMap({ world.runs[$0] }) else { throw Contradiction("no run") }
            try require(child.plan.name == name, "a run of another workflow")
            try require(child.input == childInput(of: step), "run \(child.runID) has another input")
        case .wait: throw Contradiction("it was to wait")
        }
        step.isGathered = false
    }

    private func wait(_ step: StepModel, _ event: LoggedEvent) throws {
        if let outcome = event.text("outcome") {
            let errorClass = event.text("class") ?? ""
            try requireOutcome(outcome, errorClass, of: step, event)
            try require(step.mayTryAgain(after: outcome, class: errorClass), "that was its last try")
            guard let dueAt = event.dueAt else { throw Contradiction("no due_at") }
            step.state = .sleeping(until: dueAt)
        } else if event.text("for") == "batch" {
            try require(step.plan.batch != nil && !step.isSpread, "it has no batch")
            try requireInWindow(step, event)
            try enter(step, event)
            (step.state, step.isGathered) = (.gathering, true)
        } else if event.text("for") == "window" {
            try waitForWindow(step, event)
        } else if event.data?["for"] != nil {
            guard case .wait = step.plan.work, !step.isSpread else { throw Contradiction("it waits for nothing") }
            try enter(step, event)
            try count(step, event)
            step.state = .held(until: event.dueAt)
        } else {
            guard let dueAt = event.dueAt else { throw Contradiction("no due_at") }
            try require(step.state == .due || step.state == .ready && isPostponed, "it has no delay")
            (step.state, step.readyAt) = (.sleeping(until: dueAt), dueAt)
        }
    }

    /// It was open when the step became ready, or has come to be since.
    private func requireInWindow(_ step: StepModel, _ event: LoggedEvent) throws {
        guard let window = step.plan.window else { return }
        let wasReady: Timestamp? = if case .sleeping(let until) = step.state { until } else { step.readySince }
        try require(wasReady.map { window.wasOpen(between: $0, and: event.at) } ?? false, "its window is not open")
    }

    private func waitForWindow(_ step: StepModel, _ event: LoggedEvent) throws {
        guard let window = step.plan.window, !step.isSpread else { throw Contradiction("it has no window") }
        try require(state == .running && phase == step.phase, "the run is \(state)")
        try requireReady(step, event)
        guard let opensAt = window.opening(after: event.at) else { throw Contradiction("its window is open") }
        try require(event.dueAt == opensAt, "its window opens at \(opensAt)")
        step.state = .sleeping(until: opensAt)
    }

    // MARK: Ends

    private func release(_ step: StepModel, _ event: LoggedEvent) throws {
        try require(step.state == .running(agent: event.agentID) && event.agentID != nil, "not by its agent")
        if event.text("reason") == "agent lost" {
            try require(step.survivesLoss(lostLimit: world.lostLimit), "lost too often")
        } else {
            step.attempts -= 1
        }
        step.becomeReady(at: event.at)
    }

    private func complete(_ step: StepModel, _ event: LoggedEvent) throws {
        switch step.state {
        case .running(let agent):
            try require(agent == event.agentID, "by another agent")
            if step.isSpread {
                try completeSpread(step)
            } else if case .workflow = step.plan.work {
                guard let child = step.childRun.flatMap({ world.runs[$0] }) else { throw Contradiction("no run") }
                try require(child.state == .completed, "run \(child.runID) is \(child.state)")
                step.output = child.result
            } else {
                try require(!step.plan.isImpossible && !lacksOutput(step), "its input cannot be computed")
                if step.plan.isCached { world.remembered.insert(step.plan.memory(n: n)) }
                step.output = step.plan.keeping == .none ? .known(nil) : step.prospect
            }
        case .held(let until): try completeWait(step, until: until, event)
        default:
            try require(step.plan.isCached, "not running")
            try enter(step, event)
            try count(step, event)
            try require(world.remembered.contains(step.plan.memory(n: n)), "nobody has computed that before")
            step.output = .known(prospect(of: step))
        }
        (step.state, step.completedBy) = (.completed, event.eventID)
    }

    private func completeSpread(_ step: StepModel) throws {
        try require(!step.hasNoItems, "it is spread over no array")
        if let open = step.elements.first(where: { !$0.state.isTerminal }) {
            throw Contradiction("element \(open.name) is \(open.state)")
        }
        try require(
            step.plan.fanOut!.collects || !step.elements.contains { $0.state != .completed && $0.state != .skipped },
            "an element has failed"
        )
        step.output = step.joined
    }

    private func completeWait(_ step: StepModel, until: Timestamp?, _ event: LoggedEvent) throws {
        guard case .wait(let wait) = step.plan.work else { throw Contradiction("it does not wait") }
        if wait.overdue == .complete, isOverdue(step, until: until, event) {
            step.output = .unknown
            return
        }
        switch wait.kind {
        case .signal(let name):
            try require(world.signals.contains("\(runID) \(name)"), "nobody has sent \(name)")
            step.output = .known(World.payload)
        case .person: step.output = .known(World.answer)
        case .duration:
            try require(until.map { $0 <= event.at } ?? false, "its time has not come")
            step.output = .known(nil)
        case .until: step.output = .known(nil)
        case .run:
            try require(awaited?.state == .completed, "the other run has not completed")
            step.output = .unknown
        }
    }

    private var awaited: RunModel? { input["other"]?.int.flatMap { world.runs[Int64($0)] } }

    private func isOverdue(_ step: StepModel, until: Timestamp?, _ event: LoggedEvent) -> Bool {
        step.plan.timeout != nil && until.map { $0 <= event.at } ?? false
    }

    private func fail(_ step: StepModel, _ event: LoggedEvent) throws {
        let (outcome, errorClass) = (event.text("outcome") ?? "", event.text("class") ?? "")
        switch outcome {
        case "deadline":
            guard let deadline = step.plan.deadline, let readyAt = step.readyAt else { throw Contradiction("no deadline") }
            try require(!step.state.isTerminal && step.state != .pending, "not under way")
            try require(readyAt.later(by: deadline) <= event.at, "its deadline has not come")
        case "lost":
            guard case .running(.some(event.agentID)) = step.state else { throw Contradiction("not by its agent") }
            try require(!step.survivesLoss(lostLimit: world.lostLimit), "losses were left")
        case "failed", "timed_out":
            try requireOutcome(outcome, errorClass, of: step, event)
            try require(!step.mayTryAgain(after: outcome, class: errorClass), "tries were left")
        case "fatal": try failForGood(step, event)
        default: throw Contradiction("outcome \(outcome)")
        }
        step.state = .failed
    }

    /// What a try that may be repeated has ended with.
    private func requireOutcome(_ outcome: String, _ errorClass: String, of step: StepModel, _ event: LoggedEvent) throws {
        try require(outcome != "timed_out" || errorClass == "timeout", "class \(errorClass)")
        switch step.state {
        case .running(.some(let agent)):
            try require(agent == event.agentID, "by another agent")
            try require(outcome != "timed_out" || step.plan.timeout != nil, "it has no timeout")
        case .running(nil):
            guard case .workflow = step.plan.work, !step.isSpread else { throw Contradiction("it is spread") }
            let child = step.childRun.flatMap { world.runs[$0] }
            try require(outcome == "timed_out" ? step.plan.timeout != nil : child?.state == .failed, "its run has not failed")
        case .held(let until):
            guard case .wait(let wait) = step.plan.work else { throw Contradiction("it does not wait") }
            if outcome == "timed_out" {
                try require(wait.overdue == .fail && isOverdue(step, until: until, event), "its time is not up")
            } else if case .run = wait.kind {
                try require(awaited?.state == .failed || awaited?.state == .cancelled, "the other run has not failed")
            } else {
                throw Contradiction("nothing can have failed")
            }
        default: throw Contradiction("not under way")
        }
    }

    private func failForGood(_ step: StepModel, _ event: LoggedEvent) throws {
        switch step.state {
        case .running(.some(let agent)):
            try require(agent == event.agentID, "by another agent")
            let errorClass = event.text("class")
            try require(errorClass != "rejected" || step.plan.hasShape, "its output was rejected")
            try require((errorClass == "input") == (step.plan.isImpossible || lacksOutput(step)), "class \(errorClass ?? "null")")
        case .running(nil) where step.isSpread:
            let hasFailed = !step.plan.fanOut!.collects && step.elements.contains { $0.state == .failed }
            try require(step.hasNoItems || hasFailed, "no element has failed")
            try require(step.elements.allSatisfy { !$0.isTold || $0.state.isTerminal }, "elements are under way")
        case .running(nil):
            let child = step.childRun.flatMap { world.runs[$0] }
            try require(child?.state == .cancelled, "its run was not cancelled")
        case .held:
            guard case .wait(let wait) = step.plan.work, case .run = wait.kind else { throw Contradiction("waits") }
            try require(awaited == nil, "there is a run to wait for")
        default:
            // A condition in SQL has failed.
            try require(state == .running && phase == step.phase, "the run is \(state)")
            try requireReady(step, event)
            try count(step, event)
            let context = context(of: step)
            try require(step.place == nil && step.plan.conditions.contains { $0.holds(in: context) == nil }, "no condition fails")
        }
    }

    private func skip(_ step: StepModel, _ event: LoggedEvent) throws {
        if event.text("reason") == "migrated" { return try drop(step) }
        switch (step.state, event.text("reason")) {
        case (.doomed(let fallen, let byCondition), let reason):
            try require(byCondition == (reason == "when"), "reason \(reason ?? "null")")
            step.state = fallen ? .fallen : .skipped
            return
        case (.held(let until), _):
            guard case .wait(let wait) = step.plan.work else { throw Contradiction("it does not wait") }
            try require(wait.overdue == .skip && isOverdue(step, until: until, event), "its time is not up")
        case (_, "when"):
            try requireReady(step, event)
            try count(step, event)
            let context = context(of: step)
            try require(
                step.place == nil && step.plan.conditions.contains { $0.isInSQL && $0.holds(in: context) == false },
                "its conditions hold"
            )
        default: throw Contradiction("nothing skips it")
        }
        step.state = .skipped
    }

    private func cancel(_ step: StepModel) throws {
        try require(!step.state.isTerminal, "has ended")
        let siblings = step.place?.parent.elements ?? []
        let isStopped =
            step.plan.fanOut?.collects == false && step.place?.parent.state == .running(agent: nil)
            && siblings.contains { $0.state == .failed }
        if !isStopped {
            try require(isAlive, "the run is \(state)")
            try require(phase == step.phase, "its phase has not begun")
            try require(step.undoes == nil || endsAs == .cancelled, "the first cancel gives up nothing of this")
            isCancelling = true
        }
        step.state = .cancelled
    }

    private func resolve(_ step: StepModel, _ event: LoggedEvent) throws {
        if step.undoes == nil {
            try require(step.state == .failed, "has not failed")
            reopen(step, at: event.at)
        } else {
            try require(hasEnded && (step.state == .failed || step.state == .cancelled), "has not failed")
        }
        (step.state, step.output, step.completedBy) = (.completed, .known(World.resolution), event.eventID)
    }

    private func reset(_ step: StepModel, _ event: LoggedEvent) throws {
        if step.undoes != nil { return try undoAgain(step) }
        if step.place != nil {
            try require(step.state.isTerminal && step.state != .completed, "has not ended badly")
            (step.attempts, step.hasBegun) = (0, false)
            return step.becomeReady(at: event.at)
        }
        try require(
            step.isFinally && hasEnded || step.state.isTerminal && step.state != .completed,
            "has not ended badly"
        )
        (step.state, step.attempts, step.output) = (.pending, 0, .known(nil))
        reopen(step, at: event.at)
    }

    // MARK: What steps work on

    private func isUrgent(_ step: StepModel) -> Bool { priority + step.plan.priority <= PlannedStep.urgent }

    /// What the step's hand-out will answer, if it completes.
    private func prospect(of step: StepModel) -> JSONValue {
        let (plan, place) = (step.plan, step.place)
        var output: [String: JSONValue] = [
            "v": .integer(Int64(Errand.value(salt: plan.salt, n: n, index: place?.index)))
        ]
        let taken = plan.taken.flatMap { context(of: place?.parent ?? step).needs[$0]?.all("v").first }
        if let taken, taken != .null { output["of"] = taken }
        if plan.hasText { output["text"] = .string("n=\(n.map(String.init) ?? "")") }
        if let item = place?.item, item != .null { output["element"] = item }
        return .object(output)
    }

    private func childInput(of step: StepModel) -> JSONValue {
        let number: JSONValue? = step.place.map { .integer(Int64($0.index)) } ?? input["n"]
        return ["n": number ?? .null, "items": input["items"] ?? .null, "other": input["other"] ?? .null]
    }
}

extension Timestamp {
    func later(by seconds: Double) -> Timestamp {
        Timestamp(microsecondsSince1970: microsecondsSince1970 + Int64(seconds * 1_000_000))
    }
}
