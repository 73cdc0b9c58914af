import HeapModule

/// What a run would take on a number of workers that never wait while something is ready.
public struct ListSchedule: Sendable {
    /// What a worker that is free takes next.
    public enum Order: String, Sendable, CaseIterable {
        /// The highest rank, then the lowest number: how the engine hands out the steps of one run.
        case criticalPath = "critical-path"
        /// What has been ready for longest, then the lowest number.
        case firstCome = "first-come"
    }

    /// When the last step ends, in seconds.
    public let makespan: Double
    /// What no schedule can beat: the longest path, or all the work shared out evenly.
    public let lowerBound: Double
    /// The longest path.
    public let criticalPath: Double
    /// All durations added up.
    public let total: Double

    /// - Parameters:
    ///   - durations: Of each step, in seconds.
    ///   - numbers: Of each step, by which ties are decided; by default their places in the definition.
    public init(
        _ graph: StepGraph,
        durations: [Double],
        workers: Int,
        order: Order = .criticalPath,
        numbers: [Int]? = nil
    ) {
        let ranks = graph.ranks(durations)
        total = durations.reduce(0, +)
        criticalPath = ranks.max() ?? 0
        lowerBound = max(criticalPath, total / Double(max(workers, 1)))

        var now = 0.0
        func entry(_ step: Int) -> Ready {
            Ready(urgency: order == .criticalPath ? ranks[step] : -now, number: numbers?[step] ?? step, step: step)
        }
        var left = graph.needs.map(\.count)
        var ready = Heap(graph.steps.indices.filter { left[$0] == 0 }.map(entry))
        var running = Heap<Running>()
        while true {
            while running.count < max(workers, 1), let next = ready.popMax() {
                running.insert(Running(end: now + durations[next.step], step: next.step))
            }
            guard let ended = running.popMin() else { break }
            now = ended.end
            for dependent in graph.dependents[ended.step] {
                left[dependent] -= 1
                if left[dependent] == 0 { ready.insert(entry(dependent)) }
            }
        }
        makespan = now
    }

    private struct Ready: Comparable {
        var urgency: Double
        var number: Int
        var step: Int
        static func < (left: Self, right: Self) -> Bool { (left.urgency, right.number) < (right.urgency, left.number) }
    }

    private struct Running: Comparable {
        var end: Double
        var step: Int
        static func < (left: Self, right: Self) -> Bool { (left.end, left.step) < (right.end, right.step) }
    }
}
