import Synchronization

/// Settings as handlers have decoded them. The steps of one definition all have the same, and decoding JSON takes longer
/// than what an agent does besides for a step that only sleeps.
final class SettingsCache: Sendable {
    /// What is larger is decoded each time: comparing it would cost as much.
    static let maxBytes = 4096
    /// Past it all are forgotten.
    static let capacity = 256

    private struct Key: Hashable {
        var type: ObjectIdentifier
        var settings: [UInt8]
    }

    private let known = Mutex<[Key: any Sendable]>([:])

    func value<Value: Sendable>(of settings: [UInt8], decode: () throws -> Value) rethrows -> Value {
        guard settings.count <= Self.maxBytes else { return try decode() }
        let key = Key(type: ObjectIdentifier(Value.self), settings: settings)
        if let value = known.withLock({ $0[key] }) as? Value { return value }
        let value = try decode()
        known.withLock { known in
            if known.count >= Self.capacity { known.removeAll(keepingCapacity: true) }
            known[key] = value
        }
        return value
    }
}
