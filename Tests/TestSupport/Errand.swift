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

/// What files a step of a random workflow leaves behind.
extension Errand {
    public static func fileName(_ number: Int) -> String { "file-\(number).txt" }

    /// How many lines a file has: one, many, or more than go into one part.
    public static func lines(salt: Int, file: Int) -> Int {
        switch draw(Int64(salt), Int64(file), below: 20) {
        case 0: 60_000
        case ..<8: 1_000
        default: 1
        }
    }

    /// All lines of it are the same, and tell which hand-out has written them.
    public static func line(run: Int64, step: Int, token: Int, file: String) -> String {
        "run \(run) step \(step) token \(token) \(file)\n"
    }
}
