/// A value inside a result: a view that is valid only while the result is alive, so it must not be kept by
/// the initialiser that it is handed to.
public struct Value {
    let start: UnsafeRawPointer
    let count: Int
    public let type: TypeID
    public let isBinary: Bool

    /// The bytes as they came.
    var raw: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    /// The bytes without what the format puts before them: jsonb in binary begins with the number of its format.
    public var content: UnsafeRawBufferPointer {
        isBinary && type == .jsonb && count > 0 ? UnsafeRawBufferPointer(rebasing: raw.dropFirst()) : raw
    }

    /// The text of a value in text format, or of a type whose two formats are the same.
    public var text: String { String(decoding: content, as: UTF8.self) }

    func load<Integer: FixedWidthInteger>(_: Integer.Type, at offset: Int = 0) -> Integer {
        Integer(bigEndian: start.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }

    /// Any integer of the server, if it fits.
    func integer<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
        guard isBinary else { return Integer(text) }
        switch (type, count) {
        case (.int8, 8): return Integer(exactly: load(Int64.self))
        case (.int4, 4): return Integer(exactly: load(Int32.self))
        case (.int2, 2): return Integer(exactly: load(Int16.self))
        // oid, xid, cid and regclass are unsigned.
        case (_, 4) where type != .float4: return Integer(exactly: load(UInt32.self))
        default: return nil
        }
    }

    var floatingPoint: Double? {
        guard isBinary else { return Double(text) }
        switch (type, count) {
        case (.float8, 8): return Double(bitPattern: load(UInt64.self))
        case (.float4, 4): return Double(Float(bitPattern: load(UInt32.self)))
        case (.numeric, 8...): return numeric
        default: return integer(Int64.self).map(Double.init)
        }
    }

    /// numeric in binary: number of digits to the base of 10,000, weight of the first, sign, scale, digits.
    private var numeric: Double? {
        let digits = Int(load(Int16.self))
        guard count >= 8 + 2 * digits else { return nil }
        switch load(UInt16.self, at: 4) {
        case 0x0000, 0x4000: break
        case 0xD000: return .infinity
        case 0xF000: return -.infinity
        default: return .nan
        }
        // Through decimal text, which rounds once.
        var mantissa = digits == 0 ? "0" : ""
        for digit in 0..<digits {
            let group = String(load(Int16.self, at: 8 + 2 * digit))
            mantissa += String(repeating: "0", count: max(0, 4 - group.count)) + group
        }
        let exponent = 4 * (Int(load(Int16.self, at: 2)) + 1 - digits)
        let sign = load(UInt16.self, at: 4) == 0x4000 ? "-" : ""
        return Double("\(sign)\(mantissa)e\(exponent)")
    }
}
