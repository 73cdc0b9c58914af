/// How long to wait before each further try.
public struct BackOff: Sendable, Hashable {
    /// The wait before the second try.
    public var first: Duration
    /// What each wait is multiplied by to get the next.
    public var factor: Double
    public var max: Duration
    /// The share by which a wait varies at random either way, so that many clients do not come back as one.
    public var jitter: Double

    public init(
        first: Duration = .milliseconds(100),
        factor: Double = 2,
        max: Duration = .seconds(5),
        jitter: Double = 0.2
    ) {
        self.first = first
        self.factor = factor
        self.max = max
        self.jitter = jitter
    }

    /// The wait after the given number of failures in a row, counted from 1.
    public func delay(attempt: Int) -> Duration {
        var delay = first
        for _ in 1..<Swift.max(attempt, 1) where delay < max { delay = delay * factor }
        return min(delay, max) * (1 + jitter * Double.random(in: -1...1))
    }
}
