import Millrace
import Postgres

/// All runs, and what they know of each other.
final class World {
    /// What the driver sends and answers, always the same.
    static let payload: JSONValue = ["v": 1]
    static let answer: JSONValue = ["v": 2]
    static let resolution: JSONValue = ["v": 9]

    /// How a workflow's versions, and runs that have one of their own, number their steps.
    struct Numbers {
        var ofVersions: [String: [Int: [String: Int32]]] = [:]
        var ofRuns: [Int64: [String: Int32]] = [:]
    }

    let lostLimit: Int32
    /// All versions of each.
    let workflows: [String: [PlannedWorkflow]]
    let numbers: Numbers
    /// Those that they have at the end; a step that has begun keeps its number.
    let lastVersions: [Int64: Int]
    var runs: [Int64: RunModel] = [:]
    /// Runs whose log says that they grow.
    let growing: Set<Int64>
    /// Forks of runs that had ended.
    let stillForks: Set<Int64>
    /// Signals that may have come, each with its run.
    let signals: Set<String>
    /// What cached steps have computed.
    var remembered: Set<String> = []

    init(
        lostLimit: Int32,
        workflows: [String: [PlannedWorkflow]],
        numbers: Numbers,
        lastVersions: [Int64: Int],
        growing: Set<Int64>,
        stillForks: Set<Int64>,
        signals: Set<String>
    ) {
        (self.lostLimit, self.workflows, self.numbers, self.lastVersions) = (
            lostLimit, workflows, numbers, lastVersions
        )
        (self.growing, self.stillForks, self.signals) = (growing, stillForks, signals)
    }

    func plan(of workflow: String, version: Int) throws -> PlannedWorkflow {
        guard let versions = workflows[workflow], versions.indices.contains(version - 1) else {
            throw Contradiction("unknown version \(version) of \(workflow)")
        }
        return versions[version - 1]
    }

    /// The number that a step has from its first event on. One that goes before it has any never has one.
    func number(of key: String, in run: RunModel) -> Int32 {
        let ofVersion = lastVersions[run.runID].flatMap { numbers.ofVersions[run.plan.name]?[$0] }
        let known = numbers.ofRuns[run.runID] ?? ofVersion
        return known?[key] ?? min(run.steps.keys.min() ?? 0, 0) - 1
    }

    /// - Returns: runs whose log contradicts the rules, each at its first such event.
    func replay(_ log: [LoggedEvent]) -> [Int64: Contradiction] {
        var wrong: [Int64: Contradiction] = [:]
        for event in log where wrong[event.runID] == nil {
            guard let run = runs[event.runID] else { continue }
            do {
                try run.apply(event)
            } catch {
                wrong[event.runID] = Contradiction("\(error)")
            }
        }
        return wrong
    }
}
