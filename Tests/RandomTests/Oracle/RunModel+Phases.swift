import Millrace
import MillraceTestSupport
import Postgres

extension RunModel {
    /// What a run is about: its main steps; where these have failed or were cancelled, undoing what had completed; at last
    /// its steps of finally.
    enum Phase { case main, undoing, final }

    /// The main steps have ended, or the run is cancelled while it is being undone.
    func end(_ event: LoggedEvent) throws {
        let ending = State(rawValue: event.text("state") ?? "")
        if phase == .undoing {
            try require(isAlive && endsAs == .failed && ending == .cancelled, "it ends as \(endsAs ?? .unborn) already")
            return endsAs = .cancelled
        }
        try require(isAlive && phase == .main, "its main steps have ended before")
        try requireEnded(main)
        try requireEnded(steps.values.lazy.filter { $0.place?.parent.isFinally == false && $0.isTold })
        let expected: State = isCancelling && ending == .cancelled ? .cancelled : oneFailed ? .failed : .completed
        try require(ending == expected, "its main steps ended as \(expected)")
        // What a pause was to hold has gone.
        if isCancelling { state = .running }
        endsAs = ending
        let undone = expected == .completed ? [] : stepsToUndo
        try require(!plan.finally.isEmpty || !undone.isEmpty, "nothing follows its main steps")
        let announced = event.data?["compensations"]?.int ?? 0
        try require(announced == undone.count, "\(undone.count) steps are to be undone: \(undone.map(\.name))")
        phase = .undoing
        for (index, step) in undone.enumerated() { add(StepModel(undoing: step, number: Int32(1_000_000_001 + index))) }
        undoNext(at: event.at)
    }

    /// What the main steps have done, by the order in which it was done.
    private var stepsToUndo: [StepModel] {
        steps.values
            .filter { $0.state == .completed && !$0.isKept && $0.plan.compensation != nil && !$0.isSpread && !$0.isForgotten }
            .sorted { $0.completedBy < $1.completedBy }
    }

    /// In the order of their numbers.
    var compensations: [StepModel] { steps.values.filter { $0.undoes != nil }.sorted { $0.number < $1.number } }

    /// The last one to complete is undone first; the next only when that has ended, however it has.
    func undoNext(at: Timestamp) {
        guard phase == .undoing, compensations.allSatisfy({ $0.state == .pending || $0.state.isTerminal }) else { return }
        if let next = compensations.last(where: { $0.state == .pending }) {
            (next.state, next.readyAt) = (.ready, at)
            return
        }
        // A second cancel has given up the rest of them, and with them what a pause was to hold.
        if isCancelling { (state, isCancelling) = (.running, false) }
        guard !plan.finally.isEmpty else { return }
        phase = .final
        for step in byKey.values where step.isFinally { settle(step, at: at) }
    }

    /// Keys of compensations that were to no avail, as the end of the run names them.
    var notCompensated: JSONValue? {
        let names = compensations.reversed().filter { $0.state == .failed || $0.state == .cancelled }.map { JSONValue.string($0.name) }
        return names.isEmpty ? nil : .array(names)
    }

    /// Once its run has ended, somebody has a compensation run again that was to no avail.
    func undoAgain(_ step: StepModel) throws {
        try require(hasEnded && (step.state == .failed || step.state == .cancelled), "it is not to be undone again")
        (step.state, step.attempts) = (.pending, 0)
        phase = .undoing
    }

    /// Nothing is left of what the step that it undoes had answered, and it must have that.
    func lacksOutput(_ step: StepModel) -> Bool {
        guard let undone = step.undoes, undone.plan.compensation!.needsOutput else { return false }
        return undone.output.value?.all("v").isEmpty ?? true
    }

    /// What the hand-out of a compensation will answer, if it completes.
    func prospect(ofUndoing step: StepModel) -> JSONValue {
        let (undone, compensation) = (step.undoes!, step.undoes!.plan.compensation!)
        let number = compensation.hasInput ? n : nil
        var output: [String: JSONValue] = [
            "v": .integer(Int64(Errand.value(salt: step.plan.salt, n: number, index: undone.place?.index)))
        ]
        if compensation.hasInput {
            if let taken = undone.output.value?.all("v").first, taken != .null { output["of"] = taken }
        } else if let item = undone.place?.item, item != .null {
            output["element"] = item
        }
        return .object(output)
    }
}
