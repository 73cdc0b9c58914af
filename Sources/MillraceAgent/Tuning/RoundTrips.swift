/// How long calls take, there and back.
struct RoundTrips: Sendable {
    /// A call that reports no more steps tells what a call costs by itself: the way, the commit, the fixed work.
    static let smallCall = 1...16
    /// So many of them must have been seen: the first ones on a connection also plan the server's statements.
    static let trustedAfter = 8
    /// Full calls of which the median counts: single ones wait for a checkpoint or a processor.
    static let fullCallsNeeded = 8

    private var floor: Double?
    private var smallCalls = 0
    /// Seconds of a call that asked for work, a moving mean.
    private(set) var mean: Double?
    /// Seconds of the last full calls.
    private var fullCalls: [Double] = []

    mutating func landed(seconds: Double, reported: Int, isClaim: Bool, isFull: Bool) {
        if Self.smallCall.contains(reported) {
            smallCalls += 1
            // Falls at once and rises slowly: most of what is above it is waiting for a processor.
            floor = floor.map { seconds < $0 ? seconds : $0 + (seconds - $0) / 32 } ?? seconds
        }
        if isClaim { mean = mean.map { $0 + (seconds - $0) / 8 } ?? seconds }
        if isFull { fullCalls.append(seconds) }
    }

    /// Seconds of a call however little it carries; nil until enough were seen.
    var least: Double? { smallCalls >= Self.trustedAfter ? floor : nil }

    /// Seconds of a full call, as soon as enough were seen since the last time; then counts anew.
    mutating func takeFull() -> Double? {
        guard fullCalls.count >= Self.fullCallsNeeded else { return nil }
        defer { fullCalls.removeAll(keepingCapacity: true) }
        return fullCalls.sorted()[fullCalls.count / 2]
    }
}
