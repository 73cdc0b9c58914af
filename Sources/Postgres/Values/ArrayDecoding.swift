extension Array: PostgresDecodable where Element: PostgresDecodable {
    /// An array of one dimension in binary format; for bytes, the content of any value.
    public init?(_ value: Value?) {
        guard let value else { return nil }
        if Element.self == UInt8.self {
            self = [UInt8](value.content) as! [Element]
            return
        }
        guard value.isBinary, value.count >= 12 else { return nil }
        let dimensions = value.load(Int32.self)
        let type = TypeID(rawValue: value.load(UInt32.self, at: 8))
        if dimensions == 0 {
            self = []
            return
        }
        guard dimensions == 1, value.count >= 20 else { return nil }
        let count = Int(value.load(Int32.self, at: 12))
        // Each element takes at least its length: a count beyond that is no array.
        guard count >= 0, count <= (value.count - 20) / 4 else { return nil }
        self = []
        reserveCapacity(count)
        var offset = 20
        for _ in 0..<count {
            guard offset + 4 <= value.count else { return nil }
            let length = Int(value.load(Int32.self, at: offset))
            offset += 4
            guard length <= value.count - offset else { return nil }
            let element =
                length < 0
                ? nil : Value(start: value.start + offset, count: length, type: type, isBinary: true)
            guard let decoded = Element(element) else { return nil }
            append(decoded)
            offset += Swift.max(length, 0)
        }
    }
}

/// Bytes come as arrays, `[UInt8]`; the server has no type of a single one but `"char"`.
extension UInt8: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let value, value.count == 1 else { return nil }
        self = value.load(UInt8.self)
    }
}
