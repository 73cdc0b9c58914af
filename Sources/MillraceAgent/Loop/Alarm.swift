import Synchronization

/// Wakes one loop: at once when something has happened, or at a moment that was asked for.
///
/// Wakes that come while the loop is busy are one.
final class Alarm: Sendable {
    typealias Instant = ContinuousClock.Instant

    let wakes: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let armed = Mutex<(at: Instant, timer: Task<Void, Never>)?>(nil)

    init() {
        (wakes, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func ring() { continuation.yield() }

    /// Wakes the loop at `moment`, unless it is woken anyway before. Only the loop itself calls this.
    func set(for moment: Instant?) {
        guard let moment else { return }
        armed.withLock { armed in
            if let armed, armed.at <= moment { return }
            armed?.timer.cancel()
            // Not a child of the loop: it must go off while the loop waits for `wakes`, and is replaced by an earlier
            // one.
            let timer = Task { [weak self] in
                guard (try? await Task.sleep(until: moment, tolerance: .zero)) != nil else { return }
                self?.goOff(moment)
            }
            armed = (moment, timer)
        }
    }

    private func goOff(_ moment: Instant) {
        armed.withLock { armed in
            if armed?.at == moment { armed = nil }
        }
        ring()
    }

    /// Ends the loop.
    func finish() {
        continuation.finish()
        armed.withLock { armed in
            armed?.timer.cancel()
            armed = nil
        }
    }
}
