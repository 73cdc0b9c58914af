/// Which statements the server keeps parsed on a connection.
///
/// A program has a bounded set of statement texts. Past the bound further ones are sent whole each time, which is
/// correct, only slower; so nothing need ever be thrown out.
struct StatementCache: Sendable {
    struct Key: Hashable, Sendable {
        let sql: String
        let types: [UInt32]
    }

    enum Use {
        /// Send the text with the parameters.
        case whole
        /// Prepare it under this name first.
        case prepare(String)
        case prepared(String)
    }

    private enum Entry {
        /// Sent, not answered. A call that relied on it now would fail with it.
        case preparing(String)
        case prepared(String)
    }

    private static let limit = 512
    private var entries: [Key: Entry] = [:]
    private var lastNumber = 0

    mutating func use(_ key: Key) -> Use {
        switch entries[key] {
        case .prepared(let name): return .prepared(name)
        case .preparing: return .whole
        case nil:
            guard entries.count < Self.limit else { return .whole }
            lastNumber += 1
            let name = "s\(lastNumber)"
            entries[key] = .preparing(name)
            return .prepare(name)
        }
    }

    mutating func confirm(_ key: Key) {
        if case .preparing(let name) = entries[key] { entries[key] = .prepared(name) }
    }

    /// The next use prepares it anew, under another name.
    mutating func forget(_ key: Key) { entries[key] = nil }
}
