import Foundation
import MillraceAgent
import Synchronization

/// A step whose output has a given size.
struct PayloadHandler: ImmediateHandler {
    static let name = "bench.payload"
    private let json: String

    init(bytes: Int) {
        json = "\"" + String(repeating: "x", count: max(0, bytes - 2)) + "\""
    }

    func runNow(_ step: StepContext) -> MillraceAgent.Output { .json(json) }
}

/// A step that does nothing but look at the clock.
struct MarkHandler: ImmediateHandler {
    static let name = "bench.mark"
    let starts: StepStarts

    func runNow(_ step: StepContext) -> MillraceAgent.Output {
        starts.mark(run: step.runID, step: Int(step.stepNo))
        return .none
    }
}

/// When each step's handler started, in seconds since 1970: the database's clock, where both run on one machine.
final class StepStarts: Sendable {
    struct Step: Hashable, Sendable {
        var run: Int64
        var number: Int
    }

    private let moments = Mutex<[Step: Double]>([:])

    /// Makes room for so many steps: a table that grows under way is copied, and what starts meanwhile would seem late.
    func expect(_ steps: Int) {
        moments.withLock { $0 = Dictionary(minimumCapacity: steps) }
    }

    func mark(run: Int64, step: Int) {
        let now = Self.now
        moments.withLock { $0[Step(run: run, number: step)] = now }
    }

    func start(run: Int64, step: Int) -> Double? {
        moments.withLock { $0[Step(run: run, number: step)] }
    }

    static var now: Double { Date().timeIntervalSince1970 }
}
