import HeapModule

/// What a run would take on a number of workers that never wait while something is ready: highest rank first, then in
/// the order of the definition, which is how the engine hands out the steps of one run.
public struct ListSchedule: Sendable {
    /// When the last step ends, in seconds.
    public let makespan: Double
    /// What no schedule can beat: the longest path, or all the work shared out evenly.
    public let lowerBound: Double
    /// The longest path.
    public let criticalPath: Double
    /// All durations added up.
    public let total: Double

    public init(_ graph: StepGraph, durations: [Double], workers: Int) {
        let ranks = graph.ranks(durations)
        total = durations.reduce(0, +)
        criticalPath = ranks.max() ?? 0
        lowerBound = max(criticalPath, total / Double(max(workers, 1)))

        var left = graph.needs.map(\.count)
        var ready = Heap(graph.steps.indices.filter { left[$0] == 0 }.map { Ready(rank: ranks[$0], step: $0) })
        var running = Heap<Running>()
        var now = 0.0
        while true {
            while running.count < max(workers, 1), let next = ready.popMax() {
                running.insert(Running(end: now + durations[next.step], step: next.step))
            }
            guard let ended = running.popMin() else { break }
            now = ended.end
            for dependent in graph.dependents[ended.step] {
                left[dependent] -= 1
                if left[dependent] == 0 { ready.insert(Ready(rank: ranks[dependent], step: dependent)) }
            }
        }
        makespan = now
    }

    private struct Ready: Comparable {
        var rank: Double
        var step: Int
        static func < (left: Self, right: Self) -> Bool { (left.rank, right.step) < (right.rank, left.step) }
    }

    private struct Running: Comparable {
        var end: Double
        var step: Int
        static func < (left: Self, right: Self) -> Bool { (left.end, left.step) < (right.end, right.step) }
    }
}
