/// SplitMix64: the same numbers from the same seed, everywhere.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A generator of its own, for a session that runs beside others.
    public mutating func fork() -> SeededRandom { SeededRandom(seed: next()) }

    public mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }

    public mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    public mutating func pick<T>(_ values: [T]) -> T { values[int(0...values.count - 1)] }

    /// One of the values, each as likely as its weight says.
    public mutating func pick<T>(weighted values: KeyValuePairs<T, Int>) -> T {
        var left = int(1...values.reduce(0) { $0 + $1.value })
        for (value, weight) in values {
            left -= weight
            if left <= 0 { return value }
        }
        preconditionFailure("weights are positive")
    }
}
