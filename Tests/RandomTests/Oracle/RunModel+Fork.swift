import Millrace
import Postgres

/// A run that keeps what another one has done.
struct Fork {
    let origin: RunModel
    let at: Timestamp
    /// The step from which on it runs anew, and all below.
    let anew: Set<Int32>
    /// Nobody was at the other run while it was forked.
    let isOriginStill: Bool
}

extension RunModel {
    /// The log tells of each step that is kept before it tells of anything else.
    func fork(_ event: LoggedEvent) throws -> Fork? {
        guard let number = event.data?["forked_from"]?.int else { return nil }
        guard let origin = world.runs[Int64(number)] else { throw Contradiction("there is no run \(number)") }
        try require(origin.plan.name == plan.name && origin.input == input, "it is of another workflow, or input")
        try require(origin.priority == priority, "its priority is another one")
        if let growth = origin.growth, !world.growing.contains(runID) { try add(growth) }
        for left in origin.steps.values where left.isDropped { add(left.copyOfDropped()) }
        guard let first = event.text("from_step").flatMap({ byKey[$0] }) else {
            throw Contradiction("there is no such step")
        }
        try require(!first.isFinally, "it runs when all others have ended")
        return Fork(
            origin: origin,
            at: event.at,
            anew: origin.undone.reduce(into: first.mainAndBelow) { anew, undone in
                anew.formUnion(steps[undone.number]?.mainAndBelow ?? [])
            },
            isOriginStill: world.stillForks.contains(runID)
        )
    }

    /// What it has undone, or tried to.
    private var undone: [StepModel] { compensations.compactMap(\.undoes).map { $0.place?.parent ?? $0 } }

    /// A step has ended in the other run, as it shall have in this one.
    func keep(_ step: StepModel, _ event: LoggedEvent) throws {
        guard let fork else { throw Contradiction("the run is no fork, or has begun") }
        guard let kept = fork.origin.steps[step.number] else { throw Contradiction("the other run has no such step") }
        try require(event.data?["kept_from"]?.int == Int(fork.origin.runID), "it is kept from another run")
        try require(step.state == .pending && !step.isFinally, "it may not be kept")
        try require(!fork.anew.contains(step.number), "it is below the step from which on all is to run anew")
        try require(kept.mayBeKept && event.kind == "step_\(kept.state)", "there it is \(kept.state)")
        (step.state, step.output, step.isKept) = (kept.state, kept.output, true)
    }

    /// All that is kept has been told of.
    func requireAllKept(of fork: Fork) throws {
        guard fork.isOriginStill else { return }
        for kept in fork.origin.steps.values where kept.mayBeKept && !fork.anew.contains(kept.number) {
            try require(
                steps[kept.number]?.state.isTerminal == true,
                "\(kept.name) of run \(fork.origin.runID) is not kept"
            )
        }
    }
}

extension StepModel {
    /// It has completed, or another step has handled its failure, or another version has left it out.
    fileprivate var mayBeKept: Bool {
        isDropped || phase == .main && place == nil && (state == .completed || state == .failed && !isUnhandled)
    }

    fileprivate func copyOfDropped() -> StepModel {
        let copy = StepModel(plan, number: number, phase: .main)
        copy.isDropped = true
        return copy
    }

    /// The step, and all that wait for it, for what waits for it, and so on.
    fileprivate var mainAndBelow: Set<Int32> {
        var found: Set<Int32> = []
        var left = [self]
        while let step = left.popLast() {
            if !step.isFinally, found.insert(step.number).inserted { left += step.dependents }
        }
        return found
    }
}
