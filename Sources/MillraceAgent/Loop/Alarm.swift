import Postgres

/// Wakes one loop: at once when something has happened, or at a moment that was asked for.
///
/// Wakes that come while the loop is busy are one.
final class Alarm: Sendable {
    let wakes: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let timer: ReactorTimer

    init() {
        let (wakes, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        (self.wakes, self.continuation) = (wakes, continuation)
        timer = ReactorTimer { continuation.yield() }
    }

    func ring() { continuation.yield() }

    /// Wakes the loop at `moment`, unless it is woken anyway before.
    func set(for moment: ContinuousClock.Instant?) {
        if let moment { timer.setNoLater(than: moment) }
    }

    /// Ends the loop.
    func finish() {
        continuation.finish()
        timer.set(for: nil)
    }
}
