import Millrace
import MillraceTestSupport

/// Another version of a workflow: some of its steps gone, some new, some changed.
extension PlannedWorkflow {
    func changed(version: Int, using random: inout SeededRandom) -> PlannedWorkflow {
        var next = self
        for number in 1...random.int(1...3) {
            switch random.int(0...9) {
            case 0...2: next.changePolicy(using: &random)
            case 3: next.changeMeaning(using: &random)
            case 4: next.cancelsOnFailure.toggle()
            case 5: next.dropNeed(using: &random)
            case 6: next.removeStep(using: &random)
            case 7: next.changeFinally(using: &random)
            default: next.addStep("v\(version)_\(number)", using: &random)
            }
        }
        return next
    }

    private mutating func changePolicy(using random: inout SeededRandom) {
        let index = random.int(0...steps.count - 1)
        switch random.int(0...5) {
        case 0: steps[index].compensation = nil
        case 1: if steps[index].compensation == nil { steps[index].addCompensation(using: &random) }
        case 2: steps[index].retry.limit = random.int(0...3)
        case 3: steps[index].delay = random.pick([nil, 0.01, 0.1])
        case 4: if steps[index].batch == nil { steps[index].priority = random.int(-4...4) }
        default: steps[index].queue = random.pick(["default", "side"])
        }
    }

    private mutating func changeMeaning(using random: inout SeededRandom) {
        let index = random.int(0...steps.count - 1)
        steps[index].salt = random.int(0...3)
    }

    private mutating func dropNeed(using random: inout SeededRandom) {
        let indices = steps.indices.filter { steps[$0].mentioned.isEmpty && !steps[$0].needs.isEmpty }
        guard let index = indices.randomElement(using: &random) else { return }
        steps[index].needs.remove(at: random.int(0...steps[index].needs.count - 1))
        if steps[index].needs.isEmpty { steps[index].rule = .allCompleted }
    }

    private mutating func removeStep(using random: inout SeededRandom) {
        let wanted = Set((steps + finally).flatMap { $0.needs + $0.mentioned } + [result])
        guard steps.count > 1, let key = steps.map(\.key).filter({ !wanted.contains($0) }).randomElement(using: &random)
        else { return }
        steps.removeAll { $0.key == key }
    }

    /// Behind some steps, and before some others.
    private mutating func addStep(_ key: String, using random: inout SeededRandom) {
        let place = random.int(0...steps.count)
        var step = PlannedStep.random(key, after: Array(steps[..<place]), children: [], using: &random)
        step.artifacts = 0
        for index in place..<steps.count where random.chance(0.3) {
            if case .allCompleted = steps[index].rule { steps[index].needs.append(key) }
        }
        steps.insert(step, at: place)
    }

    private mutating func changeFinally(using random: inout SeededRandom) {
        if finally.isEmpty {
            finally = [PlannedStep(key: "f1", salt: random.int(0...99))]
        } else if random.chance(0.5) {
            finally.removeLast()
        } else {
            finally[0].salt = random.int(0...99)
        }
    }
}

extension PlannedStep {
    /// Other steps that it names, but for its needs.
    fileprivate var mentioned: [String] {
        var keys = conditions.compactMap(\.need) + [taken, onError, growth?.waiting].compactMap(\.self)
        if case .firstOrNotLast(let first, let last) = rule { keys += [first, last] }
        if case .need(let key)? = fanOut?.source { keys.append(key) }
        return keys
    }

    /// What it says but for what may change while it is under way.
    var meaning: JSONValue {
        guard case .object(let members) = json else { return json }
        let policies: Set = ["description", "expected", "retry", "timeout", "delay", "priority", "queue", "compensate"]
        return .object(members.filter { !policies.contains($0.key) })
    }
}

extension Condition {
    fileprivate var need: String? {
        switch self {
        case .need(let key, _), .needInSQL(let key, _): key
        case .run, .ended, .runInSQL, .breaking: nil
        }
    }
}
