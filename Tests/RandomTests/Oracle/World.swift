import Millrace
import Postgres

/// All runs, and what they know of each other.
final class World {
    /// What the driver sends and answers, always the same.
    static let payload: JSONValue = ["v": 1]
    static let answer: JSONValue = ["v": 2]
    static let resolution: JSONValue = ["v": 9]

    let lostLimit: Int32
    var runs: [Int64: RunModel] = [:]
    /// Numbers of the steps that runs have gained by growing, by run and key.
    let grown: [Int64: [String: Int32]]
    /// Signals that may have come, each with its run.
    let signals: Set<String>
    /// What cached steps have computed.
    var remembered: Set<String> = []

    init(lostLimit: Int32, grown: [Int64: [String: Int32]], signals: Set<String>) {
        (self.lostLimit, self.grown, self.signals) = (lostLimit, grown, signals)
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
