import Millrace
import MillraceTestSupport
import Postgres

/// A step of a run, or an element of one, as the log has told of it so far.
final class StepModel {
    enum State: Equatable {
        case pending
        /// It may start, and has no event that says so.
        case ready
        /// Its delay is to begin.
        case due
        /// It is to be skipped.
        case doomed(fallen: Bool, byCondition: Bool)
        case sleeping(until: Timestamp)
        /// In a batch that has not been let go, or has.
        case gathering
        /// By the engine, until then if nothing comes: it waits for what comes from outside.
        case held(until: Timestamp?)
        /// By an agent, or by the engine (nil).
        case running(agent: Int32?)
        case completed, failed, skipped, fallen, cancelled

        var isTerminal: Bool {
            switch self {
            case .completed, .failed, .skipped, .fallen, .cancelled: true
            default: false
            }
        }

        /// As views call it.
        var name: String {
            switch self {
            case .due, .doomed: "pending"
            case .sleeping, .gathering, .held: "waiting"
            case .running: "running"
            case .fallen: "skipped"
            default: "\(self)"
            }
        }
    }

    enum Output: Equatable {
        case known(JSONValue?)
        /// The log does not tell whether it has one.
        case unknown

        var value: JSONValue? {
            if case .known(let value) = self { value } else { nil }
        }
    }

    var plan: PlannedStep
    let number: Int32
    let phase: RunModel.Phase
    /// Where it is an element: of which step, which one.
    let place: (parent: StepModel, index: Int, item: JSONValue)?
    var needs: [StepModel] = []
    /// The steps for whose failure it stands in.
    var standsInFor: [StepModel] = []
    var dependents: [StepModel] = []
    /// What it undoes, where it is a compensation.
    private(set) var undoes: StepModel?

    var state = State.pending
    var attempts: Int32 = 0
    var output = Output.known(nil)
    /// What its current hand-out will answer, if it completes.
    var prospect = Output.known(nil)
    var readyAt: Timestamp?
    /// The event that tells so.
    var completedBy: Int64 = 0
    /// When it was ready last: at first, for another try, given back.
    var readySince: Timestamp?
    var elements: [StepModel] = []
    /// It is spread over what is no array.
    var hasNoItems = false
    var childRun: Int64?
    /// Something has been told of it.
    var isTold = false
    /// The version to which its run has moved is without it.
    var isDropped = false
    /// It ended in the run of which this one is a fork, and has not begun anew.
    var isKept = false
    /// An agent has had it.
    var isHandedOut = false
    /// It has got past being ready, since it was last set back.
    var hasBegun = false
    /// It has been in a batch since it was last handed out.
    var isGathered = false

    init(_ plan: PlannedStep, number: Int32, phase: RunModel.Phase, place: (StepModel, Int, JSONValue)? = nil) {
        self.plan = plan
        self.number = number
        self.phase = phase
        self.place = place.map { (parent: $0.0, index: $0.1, item: $0.2) }
    }

    init(undoing step: StepModel, number: Int32) {
        (plan, self.number, phase, place, undoes) = (step.plan.undoing!, number, .undoing, nil, step)
    }

    var name: String {
        if let undoes { return "compensate:\(undoes.name)" }
        return place.map { "\(plan.key)[\($0.index)]" } ?? plan.key
    }

    var isFinally: Bool { phase == .final }

    /// It is spread over elements, and is none of them.
    var isSpread: Bool { plan.fanOut != nil && place == nil }

    /// It is an element of what its step was spread over before, and is no longer.
    var isForgotten: Bool { place.map { place in !place.parent.elements.contains { $0 === self } } ?? false }

    /// It has failed, and no other step handles that.
    var isUnhandled: Bool { state == .failed && plan.onError == nil }

    func disconnect() { (needs, standsInFor, dependents) = ([], [], []) }

    func becomeReady(at time: Timestamp) { (state, readySince) = (.ready, time) }

    // MARK: What its rule says

    enum Verdict { case start, skip, fall }

    /// - Returns: nil while its rule waits for needs.
    var verdict: Verdict? {
        // By the time a step of finally runs, all main ones have ended.
        let judged = isFinally ? needs.filter(\.isFinally) : needs
        if !standsInFor.isEmpty {
            guard (judged + standsInFor).allSatisfy(\.state.isTerminal) else { return nil }
            return holds(judged) && standsInFor.contains { $0.state == .failed } ? .start : .skip
        }
        if case .anyCompleted = plan.rule, judged.contains(where: { $0.state == .completed }) { return .start }
        guard judged.allSatisfy(\.state.isTerminal) else { return nil }
        if judged.isEmpty || holds(judged) { return .start }
        switch plan.rule {
        case .allCompleted, .noneFailed, .anyCompleted: return needs.contains(where: \.hasFallen) ? .fall : .skip
        case .allDone, .allFailed, .firstOrNotLast: return .skip
        }
    }

    /// Whether there is nothing left that its rule would wait for, whatever it then says.
    var waitsForNone: Bool {
        (needs + standsInFor).allSatisfy(\.state.isTerminal)
            || plan.rule == .anyCompleted && standsInFor.isEmpty && needs.contains { $0.state == .completed }
    }

    private func holds(_ needs: [StepModel]) -> Bool {
        switch plan.rule {
        case .allCompleted: needs.allSatisfy { $0.state == .completed }
        case .allDone: true
        case .noneFailed: !needs.contains(where: \.hasFallen)
        case .allFailed: needs.allSatisfy { $0.state == .failed || $0.state == .fallen }
        case .anyCompleted: needs.contains { $0.state == .completed }
        case .firstOrNotLast(let first, let last):
            needs.contains { $0.plan.key == first && $0.state == .completed }
                || needs.contains { $0.plan.key == last && $0.state != .failed }
        }
    }

    private var hasFallen: Bool { state == .cancelled || state == .fallen || isUnhandled }

    // MARK: Tries

    /// Whether a try that failed so may be followed by another.
    func mayTryAgain(after outcome: String, class errorClass: String) -> Bool {
        (outcome == "failed" || outcome == "timed_out") && attempts <= plan.retry.limit && plan.retry.mends(errorClass)
    }

    /// Whether it is handed out again after its agent was lost.
    func survivesLoss(lostLimit: Int32) -> Bool {
        attempts <= max(Int32(plan.retry.limit), lostLimit) && plan.retry.neverOn?.contains("lost") != true
    }

    /// Elements of it that have begun and not ended.
    var elementsUnderWay: Int { elements.count { $0.hasBegun && !$0.state.isTerminal } }

    /// The outputs of its elements, in order.
    var joined: Output {
        var values: [JSONValue] = []
        for element in elements {
            guard element.state == .completed else {
                values.append(.null)
                continue
            }
            guard case .known(let value) = element.output else { return .unknown }
            values.append(value ?? .null)
        }
        return .known(.array(values))
    }
}

extension PlannedStep {
    /// What tells its computation from all others.
    func memory(n: Int?) -> String { "\(json["handler"]!.json) \(json["with"]!.json) \(n.map(String.init) ?? "null")" }
}
