/// The steps of a workflow and what each of them needs, numbered in the order of the definition.
///
/// For pictures and estimates only. What runs when is decided in the database.
public struct StepGraph: Sendable {
    public let name: String
    public let steps: [WorkflowDefinition.Step]
    /// The needs of each step, ascending.
    public let needs: [[Int]]
    /// Who needs each step, ascending.
    public let dependents: [[Int]]
    /// The steps so that each comes after its needs.
    public let order: [Int]
    /// Needs on the longest way from a root to each step.
    public let levels: [Int]

    /// - Throws: ``MillraceError`` for a key that stands twice, a need that does not exist, or a cycle.
    public init(_ definition: WorkflowDefinition) throws(MillraceError) {
        try self.init(name: definition.name, steps: definition.steps)
    }

    public init(name: String, steps: [WorkflowDefinition.Step]) throws(MillraceError) {
        self.name = name
        self.steps = steps
        var numbers = [String: Int](minimumCapacity: steps.count)
        for (number, step) in steps.enumerated() where numbers.updateValue(number, forKey: step.key) != nil {
            throw MillraceError(.malformed, "Two steps have the key \"\(step.key)\".")
        }
        var needs = [[Int]](repeating: [], count: steps.count)
        var dependents = needs
        // Who takes over when a step has failed needs it, without saying so.
        var handled: [String: [String]] = [:]
        for step in steps {
            if let handler = step.errorHandler { handled[handler, default: []].append(step.key) }
        }
        for (number, step) in steps.enumerated() {
            var seen = Set<Int>(minimumCapacity: step.needs.count)
            for key in step.needs + handled[step.key, default: []] {
                guard let need = numbers[key] else {
                    throw MillraceError(
                        .malformed,
                        "Step \"\(step.key)\" needs \"\(key)\", which is no step of this workflow."
                    )
                }
                if seen.insert(need).inserted {
                    needs[number].append(need)
                    dependents[need].append(number)
                }
            }
        }
        self.needs = needs.map { $0.sorted() }
        self.dependents = dependents
        (order, levels) = try Self.sort(steps, needs, dependents)
    }

    public var edgeCount: Int { needs.reduce(0) { $0 + $1.count } }

    /// The steps of each level, in the order of the definition.
    public var rows: [[Int]] {
        var rows = [[Int]](repeating: [], count: (levels.max() ?? -1) + 1)
        for step in steps.indices { rows[levels[step]].append(step) }
        return rows
    }

    /// What each step and the longest way behind it take, given what each step takes.
    public func ranks(_ durations: [Double]) -> [Double] {
        var ranks = durations
        for step in order.reversed() {
            ranks[step] += dependents[step].reduce(0) { max($0, ranks[$1]) }
        }
        return ranks
    }

    /// Kahn's algorithm; what it cannot number stands on a cycle or behind one.
    private static func sort(
        _ steps: [WorkflowDefinition.Step],
        _ needs: [[Int]],
        _ dependents: [[Int]]
    ) throws(MillraceError) -> (order: [Int], levels: [Int]) {
        var left = needs.map(\.count)
        var levels = [Int](repeating: 0, count: steps.count)
        var order = steps.indices.filter { left[$0] == 0 }
        order.reserveCapacity(steps.count)
        var next = 0
        while next < order.count {
            let step = order[next]
            next += 1
            for dependent in dependents[step] {
                levels[dependent] = max(levels[dependent], levels[step] + 1)
                left[dependent] -= 1
                if left[dependent] == 0 { order.append(dependent) }
            }
        }
        // What runs finally comes after all others.
        let end = 1 + (steps.indices.lazy.filter { !steps[$0].isFinal }.map { levels[$0] }.max() ?? -1)
        for step in order where steps[step].isFinal {
            levels[step] = needs[step].reduce(end) { max($0, levels[$1] + 1) }
        }
        if let stuck = steps.indices.first(where: { left[$0] > 0 }) {
            let cycle = cycle(from: stuck, needs, left).map { steps[$0].key }
            throw MillraceError(.malformed, "The steps need each other in a circle: \(cycle.joined(separator: " → ")).")
        }
        return (order, levels)
    }

    /// Walks up from a step that could not be numbered, always to another such step, until one comes back.
    private static func cycle(from start: Int, _ needs: [[Int]], _ left: [Int]) -> [Int] {
        var path: [Int] = []
        var place: [Int: Int] = [:]
        var step = start
        while place[step] == nil {
            place[step] = path.count
            path.append(step)
            step = needs[step].first { left[$0] > 0 } ?? step
        }
        return path[place[step]!...].reversed() + [path[place[step]!...].last ?? step]
    }
}
