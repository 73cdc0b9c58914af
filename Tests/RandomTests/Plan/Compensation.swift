import Millrace
import MillraceTestSupport

extension PlannedStep {
    /// What undoes a step once it has completed.
    struct Compensation: Sendable {
        var salt = 0
        var retry = Retry()
        var timeout: Double?
        /// In a thousand: how many of its hand-outs fail.
        var failing = 60
        /// It says what it is to be given, and does not take all that there is.
        var hasInput = true
        /// It fails where there is nothing left of what the step had answered.
        var needsOutput = false
    }

    /// The step that a run gains to undo this one.
    var undoing: PlannedStep? {
        compensation.map { undo in
            PlannedStep(key: "compensate:\(key)", retry: undo.retry, timeout: undo.timeout, priority: priority, salt: undo.salt)
        }
    }

    mutating func addCompensation(using random: inout SeededRandom) {
        if case .wait = work { return }
        guard !isCached, random.chance(0.35) else { return }
        var undo = Compensation(salt: random.int(0...99))
        if random.chance(0.5) { undo.retry = .random(using: &random) }
        if random.chance(0.2) { undo.timeout = 0.3 }
        if random.chance(0.3) { undo.failing = 400 }
        undo.hasInput = random.chance(0.8)
        undo.needsOutput = undo.hasInput && random.chance(0.3)
        compensation = undo
    }
}

extension PlannedStep.Compensation {
    /// - Parameter ofElements: whether it undoes each element by itself.
    func json(ofElements: Bool) -> JSONValue {
        var settings: [String: JSONValue] = ["salt": .integer(Int64(salt)), "failing": .integer(Int64(failing))]
        if timeout != nil { settings["slow"] = 60 }
        var members: [String: JSONValue] = ["handler": "act", "with": .object(settings)]
        if retry.limit > 0 { members["retry"] = retry.json }
        if let timeout { members["timeout"] = .number(timeout) }
        if hasInput {
            var input: [String: JSONValue] = ["n": "$.run.n", "of": "$.output.v"]
            if ofElements { input["index"] = "$.index" }
            members["input"] = .object(input)
        }
        if needsOutput { members["required"] = ["of"] }
        return .object(members)
    }
}
