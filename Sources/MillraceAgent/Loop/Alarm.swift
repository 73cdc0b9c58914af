import Postgres
import Synchronization

/// Wakes one loop: at once when something has happened, or at a moment that was asked for.
///
/// Wakes that come while the loop is busy are one.
final class Alarm: Sendable {
    typealias Instant = ContinuousClock.Instant

    let wakes: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    /// What the timer is set for.
    private let armed = Mutex<Instant?>(nil)
    private let timer = Mutex<ReactorTimer?>(nil)

    init() {
        (wakes, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        timer.withLock { $0 = ReactorTimer { [weak self] in self?.goOff() } }
    }

    func ring() { continuation.yield() }

    /// Wakes the loop at `moment`, unless it is woken anyway before. Only the loop itself calls this.
    func set(for moment: Instant?) {
        guard let moment else { return }
        armed.withLock { armed in
            if let armed, armed <= moment { return }
            armed = moment
            timer.withLock { $0?.set(for: moment) }
        }
    }

    private func goOff() {
        armed.withLock { $0 = nil }
        ring()
    }

    /// Ends the loop.
    func finish() {
        continuation.finish()
        timer.withLock { $0 = nil }
    }
}
