import Foundation
import Millrace

/// A recorded workflow, and how long each of its steps is to sleep.
struct Recording: Sendable {
    let graph: StepGraph
    private(set) var durations: [Double]
    private(set) var scale = 1.0

    init(_ definition: WorkflowDefinition) throws(MillraceError) {
        graph = try StepGraph(definition)
        durations = definition.steps.map { $0.expected ?? 0 }
    }

    /// - Parameters:
    ///   - seconds: How long the whole takes at best; nil: as the factor says.
    func scaled(seconds: Double?, factor: Double, workers: Int) -> Recording {
        let bound = schedule(order: .criticalPath, workers: workers).lowerBound
        var scaled = self
        scaled.scale = seconds.map { bound > 0 ? $0 / bound : 0 } ?? factor
        scaled.durations = durations.map { $0 * scaled.scale }
        return scaled
    }

    func schedule(order: ListSchedule.Order, workers: Int, numbers: [Int]? = nil) -> ListSchedule {
        ListSchedule(graph, durations: durations, workers: workers, order: order, numbers: numbers)
    }

    /// What is replayed. Steps that take no time do nothing.
    ///
    /// First come, first served knows of no durations, so all ranks are the same. What has been learnt of one replay
    /// must not help another that is to learn it itself: that one gets a name of its own.
    func definition(order: ListSchedule.Order, learn: Bool) -> WorkflowDefinition {
        let name = "replay.\(graph.name)"
        let seconds = Dictionary(uniqueKeysWithValues: zip(graph.steps.map(\.key), durations))
        let steps = graph.steps.map { step in
            var step = step
            let duration = seconds[step.key] ?? 0
            switch order {
            case .criticalPath:
                step.handler = duration > 0 ? "sleep" : "noop"
                step.expected = learn ? nil : duration
            case .firstCome:
                step.handler = FirstComeHandler.name
                step.expected = 0
            }
            return step
        }
        return WorkflowDefinition(
            name: String(name.prefix(150)) + (learn ? ".learn.\(UUID().uuidString)" : "")
                + (order == .firstCome ? ".first-come" : ""),
            steps: steps
        ) { ["seconds": .number(seconds[$0.key] ?? 0)] }
    }
}
