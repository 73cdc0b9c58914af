import Collections
import MillraceAgent
import Synchronization

/// Sleeps as `sleep` does, but only so many steps at a time, in the order in which they came.
final class FirstComeHandler: Handler {
    static let name = "bench.first_come"

    private struct Settings: Decodable {
        var seconds: Double
    }

    private struct State {
        var free: Int
        var waiting: Deque<CheckedContinuation<Void, Never>> = []
    }

    private let state: Mutex<State>

    init(workers: Int) {
        state = Mutex(State(free: workers))
    }

    func run(_ step: StepContext) async throws -> MillraceAgent.Output {
        let settings: Settings = try step.settings()
        await enter()
        defer { leave() }
        // Whoever was cancelled while it waited passes at once.
        try await Task.sleep(for: .seconds(settings.seconds), tolerance: .zero)
        return .none
    }

    private func enter() async {
        await withCheckedContinuation { continuation in
            let mayGo = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if mayGo { continuation.resume() }
        }
    }

    private func leave() {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            if next == nil { state.free += 1 }
            return next
        }
        next?.resume()
    }
}
