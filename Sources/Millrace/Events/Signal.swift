import Synchronization

/// Wakes one task. Rings that come while it does not wait are one, and are not lost.
final class Signal: Sendable {
    private struct State {
        var isRung = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func ring() {
        let waiter = state.withLock { state in
            guard let waiter = state.waiter else {
                state.isRung = true
                return nil as CheckedContinuation<Void, Never>?
            }
            state.waiter = nil
            return waiter
        }
        waiter?.resume()
    }

    /// Returns with the next ring, or when the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isRung = state.withLock { state in
                    if state.isRung {
                        state.isRung = false
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                // The cancellation may have come before there was anybody to wake.
                if isRung { continuation.resume() } else if Task.isCancelled { ring() }
            }
        } onCancel: {
            ring()
        }
    }

    /// The same, but no longer than `limit`; may return early.
    func wait(for limit: Duration) async {
        guard limit > .zero else { return }
        // Not a child: a group would have to end the waiting as well, and its end is the ring itself.
        let timer = Task {
            guard (try? await Task.sleep(for: limit, tolerance: .zero)) != nil else { return }
            ring()
        }
        await wait()
        timer.cancel()
    }
}
