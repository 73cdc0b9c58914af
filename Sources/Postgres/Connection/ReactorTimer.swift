/// Goes off once at the moment that it was set for last, on the thread that reads what servers send: nobody has to be
/// woken but that thread.
public final class ReactorTimer: Sendable {
    private let token: UInt64

    /// - Parameter handler: Called on the reactor's thread, where it must not wait.
    public init(_ handler: @escaping @Sendable () -> Void) { token = Reactor.shared.addTimer(handler) }

    deinit { Reactor.shared.removeTimer(token) }

    /// At once where the moment has passed; never, for nil.
    public func set(for moment: ContinuousClock.Instant?) { Reactor.shared.setTimer(token, for: moment) }

    /// ``set(for:)``, unless it goes off before that anyway.
    public func setNoLater(than moment: ContinuousClock.Instant) {
        Reactor.shared.setTimer(token, for: moment, unlessEarlier: true)
    }
}

/// The timers of a reactor: so few that it may look at all of them.
struct ReactorTimers: Sendable {
    typealias Instant = ContinuousClock.Instant
    typealias Handler = @Sendable () -> Void

    private var all: [UInt64: (at: Instant?, handler: Handler)] = [:]
    /// What the thread wakes up for; sometimes for nothing, after a timer was put off.
    private(set) var next: Instant?

    mutating func add(_ token: UInt64, _ handler: @escaping Handler) { all[token] = (nil, handler) }

    mutating func remove(_ token: UInt64) { all[token] = nil }

    /// - Returns: whether it comes before what the thread waits for.
    mutating func set(_ token: UInt64, for moment: Instant?, unlessEarlier: Bool) -> Bool {
        if unlessEarlier, let moment, let at = all[token]?.at, at <= moment { return false }
        all[token]?.at = moment
        guard let moment, next.map({ moment < $0 }) ?? true else { return false }
        next = moment
        return true
    }

    /// Those that go off now.
    mutating func takeDue() -> [Handler] {
        guard let next, case let now = Instant.now, next <= now else { return [] }
        var due: [Handler] = []
        for (token, timer) in all where timer.at.map({ $0 <= now }) ?? false {
            due.append(timer.handler)
            all[token]?.at = nil
        }
        self.next = all.values.compactMap(\.at).min()
        return due
    }
}
