import MillraceTestSupport

extension PlannedWorkflow {
    /// - Parameter children: workflows that its steps may be runs of.
    static func random(
        name: String,
        sizes: ClosedRange<Int>,
        children: [String],
        using random: inout SeededRandom
    ) -> PlannedWorkflow {
        let count = random.int(sizes)
        var steps: [PlannedStep] = []
        for number in 1...count {
            steps.append(.random("s\(number)", after: steps, children: children, using: &random))
        }
        if random.chance(0.3) { PlannedStep.letOneTakeOver(among: &steps, using: &random) }
        if random.chance(0.25) { PlannedStep.letOneGrow(among: &steps, using: &random) }
        if !steps.contains(where: \.hasValue) { (steps[0].work, steps[0].timeout) = (.handler("act"), nil) }
        let result = random.pick(steps.filter(\.hasValue)).key
        var workflow = PlannedWorkflow(name: name, steps: steps, result: result)
        if random.chance(0.3) { workflow.finally = finally(after: steps, using: &random) }
        workflow.cancelsOnFailure = random.chance(0.2)
        if random.chance(0.04) { workflow.deadline = random.pick([0.5, 3]) }
        return workflow
    }

    private static func finally(after steps: [PlannedStep], using random: inout SeededRandom) -> [PlannedStep] {
        let looked = random.pick(steps)
        var first = PlannedStep(key: "f1", salt: random.int(0...99))
        if looked.hasValue, random.chance(0.4) {
            (first.needs, first.taken) = ([looked.key], looked.key)
        } else if random.chance(0.3) {
            first.conditions = [.ended(random.pick(["failed", "completed", "cancelled"]))]
        }
        first.retry.limit = random.int(0...1)
        var second = PlannedStep(key: "f2", needs: ["f1"], rule: random.chance(0.5) ? .allDone : .noneFailed)
        second.salt = random.int(0...99)
        if random.chance(0.3) { second.work = .wait(.init(kind: .duration(0.05), overdue: .fail)) }
        return random.chance(0.5) ? [first] : [first, second]
    }
}

extension PlannedStep {
    /// Whether its output is known to the model once it has completed.
    var hasValue: Bool {
        if case .wait = work { false } else { true }
    }

    private var isPlain: Bool {
        if case .handler = work, fanOut == nil, !isCached { true } else { false }
    }

    static func random(
        _ key: String,
        after earlier: [PlannedStep],
        children: [String],
        using random: inout SeededRandom
    ) -> PlannedStep {
        var step = PlannedStep(key: key, salt: random.int(0...99))
        let near = earlier.suffix(random.pick([1, 3, 25]))
        step.needs = near.filter { _ in random.chance(min(1, 1.8 / Double(near.count))) }.map(\.key)
        if let first = step.needs.first, let last = step.needs.last {
            step.rule =
                switch random.int(0...11) {
                case 0, 1: .allDone
                case 2: .noneFailed
                case 3: .allFailed
                case 4: .anyCompleted
                case 5: .firstOrNotLast(first, last)
                default: .allCompleted
                }
        }
        var known = near.filter { step.needs.contains($0.key) && $0.hasValue }.map(\.key)
        // One that starts with the first of its needs may or may not see the others.
        if case .anyCompleted = step.rule { known = [] }
        step.addConditions(known: known, using: &random)
        step.addWork(known: known, children: children, using: &random)
        if random.chance(0.35) { step.retry = .random(using: &random) }
        if random.chance(0.1) { step.delay = random.pick([0.01, 0.1]) }
        if random.chance(0.05), step.fanOut == nil { step.deadline = random.pick([0.2, 2]) }
        step.addCompensation(using: &random)
        return step
    }

    private mutating func addConditions(known: [String], using random: inout SeededRandom) {
        guard random.chance(0.3) else { return }
        conditions.append(.run(above: random.int(-1...2)))
        let needed = known.randomElement(using: &random)
        if let needed, random.chance(0.4) { conditions.append(.need(needed, above: random.int(-1...2))) }
        guard random.chance(0.3) else { return }
        switch random.int(0...2) {
        case 0: conditions.append(.breaking(at: random.int(0...4)))
        case 1: conditions.append(.runInSQL(above: random.int(0...2)))
        default: if let needed { conditions.append(.needInSQL(needed, above: random.int(-1...2))) }
        }
    }

    private mutating func addWork(known: [String], children: [String], using random: inout SeededRandom) {
        if random.chance(0.15) {
            fanOut = FanOut(source: .items, collects: random.chance(0.5))
            if let need = known.randomElement(using: &random), random.chance(0.3) { fanOut?.source = .need(need) }
            if random.chance(0.4) { fanOut?.parallel = random.int(1...2) }
            if random.chance(0.2) { fanOut?.chunk = 2 }
        }
        switch random.int(0...99) {
        case ..<12 where !children.isEmpty: work = .workflow(random.pick(children))
        case 12..<24: addWait(using: &random)
        default: addHandler(known: known, using: &random)
        }
        if case .workflow = work, random.chance(0.05) { timeout = random.pick([0.3, 5]) }
    }

    private mutating func addWait(using random: inout SeededRandom) {
        let kind: Wait.Kind =
            switch random.int(0...5) {
            case 0, 1: .signal(random.pick(["go", "stop"]))
            case 2: .person
            case 3: .duration(random.pick([0, 0.05]))
            case 4: .until
            default: .run
            }
        if random.chance(0.5) { timeout = random.pick([0.05, 1]) }
        work = .wait(Wait(kind: kind, overdue: timeout == nil ? .fail : random.pick([.fail, .skip, .complete])))
    }

    private mutating func addHandler(known: [String], using random: inout SeededRandom) {
        if random.chance(0.15) {
            work = .handler("pack")
            batch = random.int(2...4)
        } else if random.chance(0.1), fanOut == nil {
            isCached = true
            salt = random.int(0...3)
        }
        if random.chance(0.06) { window = .random(now: .now, using: &random) }
        if random.chance(0.1) { timeout = 0.3 }
        if random.chance(0.2) { queue = "side" }
        if random.chance(0.2) { priority = random.int(-4...4) }
        if random.chance(0.15) { hasShape = true }
        // A remembered output does not change with what a step takes beside its key.
        guard !isCached else { return }
        if random.chance(0.3) { taken = known.randomElement(using: &random) }
        if random.chance(0.2) { hasText = true }
        if random.chance(0.03) { isImpossible = true }
        if random.chance(0.15) { artifacts = random.int(1...2) }
        guard fanOut == nil else { return }
        keeping = random.pick(weighted: [.keep: 8, .none: 1, .timeToLive: 1])
    }

    /// One step takes over when an earlier one has failed.
    static func letOneTakeOver(among steps: inout [PlannedStep], using random: inout SeededRandom) {
        let target = random.int(0...steps.count - 1)
        let source = random.int(0...target)
        guard source < target, !steps[target].needs.contains(steps[source].key) else { return }
        switch steps[target].rule {
        case .allCompleted, .allDone, .firstOrNotLast: steps[source].onError = steps[target].key
        case .noneFailed, .allFailed, .anyCompleted: break
        }
    }

    /// One step adds others to its run, and may have one that waits for it wait for them too.
    static func letOneGrow(among steps: inout [PlannedStep], using random: inout SeededRandom) {
        let growing = steps.indices.filter { steps[$0].isPlain && steps[$0].batch == nil && !steps[$0].hasText }
        guard let index = growing.randomElement(using: &random) else { return }
        let key = steps[index].key
        var first = PlannedStep(key: "g1", needs: random.chance(0.5) ? [key] : [], salt: random.int(0...99))
        if random.chance(0.3) { first.rule = first.needs.isEmpty ? .allCompleted : .allDone }
        if random.chance(0.3) { first.fanOut = FanOut(source: .items, collects: true) }
        let second = PlannedStep(key: "g2", needs: ["g1"], rule: .allDone, salt: random.int(0...99))
        first.addCompensation(using: &random)
        var growth = Growth(steps: random.chance(0.5) ? [first] : [first, second])
        if random.chance(0.5) {
            growth.waiting = steps.first { step in
                if case .allCompleted = step.rule { step.needs.contains(key) } else { false }
            }?.key
        }
        steps[index].growth = growth
    }
}

extension PlannedStep.Retry {
    static func random(using random: inout SeededRandom) -> Self {
        Self(
            limit: random.int(1...3),
            backoff: random.pick([0, 0.02, 0.1]),
            on: random.pick([nil, nil, ["http:5xx", "timeout"], ["error", "http", "tax"]]),
            neverOn: random.pick([nil, nil, ["http:404"], ["lost", "tax"]])
        )
    }
}
