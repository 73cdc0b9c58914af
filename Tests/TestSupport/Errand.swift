/// What a step of a random workflow computes, so that an agent can do it and a model can expect it.
public enum Errand {
    /// A small number that depends on the step, on the run's input and on the element.
    public static func value(salt: Int, n: Int?, index: Int?) -> Int {
        (salt + 7 * (n ?? 1) + 3 * (index ?? 0)) % 5
    }

    /// A number that looks random, the same for the same words.
    public static func draw(_ words: Int64..., below bound: UInt64) -> Int {
        var random = SeededRandom(seed: 0)
        for word in words { random = SeededRandom(seed: random.next() ^ UInt64(bitPattern: word)) }
        return Int(random.next() % bound)
    }
}
