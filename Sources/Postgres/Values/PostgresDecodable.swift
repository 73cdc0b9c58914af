/// A type that can be read from a column.
public protocol PostgresDecodable: Sendable {
    /// Nil when the value (nil: NULL) is none of this type.
    init?(_ value: Value?)
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let value else {
            self = .none
            return
        }
        guard let wrapped = Wrapped(value) else { return nil }
        self = .some(wrapped)
    }
}

extension Int64: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let decoded = value?.integer(Int64.self) else { return nil }
        self = decoded
    }
}

extension Int32: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let decoded = value?.integer(Int32.self) else { return nil }
        self = decoded
    }
}

extension Int16: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let decoded = value?.integer(Int16.self) else { return nil }
        self = decoded
    }
}

extension Int: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let decoded = value?.integer(Int.self) else { return nil }
        self = decoded
    }
}

extension Bool: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let value, value.count == 1 else { return nil }
        switch value.load(UInt8.self) {
        case 1 where value.isBinary, UInt8(ascii: "t"): self = true
        case 0 where value.isBinary, UInt8(ascii: "f"): self = false
        default: return nil
        }
    }
}

extension Double: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let decoded = value?.floatingPoint else { return nil }
        self = decoded
    }
}

extension Float: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let decoded = value?.floatingPoint else { return nil }
        self = Float(decoded)
    }
}

extension String: PostgresDecodable {
    public init?(_ value: Value?) {
        guard let value else { return nil }
        self = value.text
    }
}

/// A moment, as `timestamptz` holds it: to the microsecond.
public struct Timestamp: Sendable, Hashable, Comparable {
    public var microsecondsSince1970: Int64

    public init(microsecondsSince1970: Int64) { self.microsecondsSince1970 = microsecondsSince1970 }

    public var secondsSince1970: Double { Double(microsecondsSince1970) / 1_000_000 }

    public static func < (a: Self, b: Self) -> Bool { a.microsecondsSince1970 < b.microsecondsSince1970 }
}

extension Timestamp: PostgresDecodable {
    /// Only in binary format, which counts from the year 2000. `infinity` stays the farthest moment.
    public init?(_ value: Value?) {
        guard let value, value.isBinary, value.type == .timestamptz, value.count == 8 else { return nil }
        let (sum, overflow) = value.load(Int64.self).addingReportingOverflow(946_684_800_000_000)
        self.init(microsecondsSince1970: overflow ? .max : sum)
    }
}

extension Duration: PostgresDecodable {
    /// An `interval` in binary format. A day counts as 24 hours, a month as 30 days.
    public init?(_ value: Value?) {
        guard let value, value.isBinary, value.type == .interval, value.count == 16 else { return nil }
        let days = Int64(value.load(Int32.self, at: 8)) + 30 * Int64(value.load(Int32.self, at: 12))
        self = .microseconds(value.load(Int64.self)) + .seconds(days * 86_400)
    }
}
