import Millrace
import Postgres

/// A run moves to another version of its workflow.
extension RunModel {
    /// A step that the other version is without. That it moves is told behind that.
    func drop(_ step: StepModel) throws {
        try require(isAlive && phase == .main, "the run is \(state)")
        try require(step.state == .pending && step.place == nil, "is past pending")
        (step.state, step.isDropped, isMigrating) = (.skipped, true, true)
    }

    func migrate(_ event: LoggedEvent) throws {
        try require(isAlive && phase == .main, "the run is \(state)")
        try require(event.data?["from_version"]?.int == version, "it has version \(version)")
        guard let number = event.data?["to_version"]?.int, number != version else {
            throw Contradiction("not to another one")
        }
        let target = try world.plan(of: plan.name, version: number)
        try requireSameFinally(in: target)
        for (steps, phase) in [(target.steps, Phase.main), (target.finally, .final)] {
            for step in steps { try take(step, phase: phase) }
        }
        removeSteps(missingIn: target)
        (plan, version, isMigrating) = (target, number, false)
        for step in byKey.values { step.disconnect() }
        for step in byKey.values where !step.isDropped { connect(step) }
        if let growth { connect(growth) }
        for step in byKey.values { settle(step, at: event.at) }
    }

    private func requireSameFinally(in target: PlannedWorkflow) throws {
        guard byKey.values.contains(where: { $0.isFinally && $0.state != .pending && !$0.isDropped }) else { return }
        let (old, new) = (plan.finally.map(\.meaning), target.finally.map(\.meaning))
        try require(old == new, "a step of finally has begun, and there they are others")
    }

    /// A step as the other version has it.
    private func take(_ planned: PlannedStep, phase: Phase) throws {
        guard let step = byKey[planned.key] else {
            return add(StepModel(planned, number: world.number(of: planned.key, in: self), phase: phase))
        }
        try require(
            step.state == .pending || !step.isDropped && step.plan.meaning == planned.meaning,
            "\(step.name) is \(step.state), and would mean something else"
        )
        step.plan = planned
        for element in step.elements { element.plan = planned }
    }

    /// What it has added itself goes with it; so does what was dropped, as it has been told.
    private func removeSteps(missingIn target: PlannedWorkflow) {
        let kept = Set((target.steps + target.finally + (growth?.steps ?? [])).map(\.key))
        for step in byKey.values where !kept.contains(step.plan.key) && !step.isDropped { remove(step) }
    }
}
