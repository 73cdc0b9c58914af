/// Appends JSON text to a buffer of bytes.
///
/// Definitions of a hundred thousand steps go through here, so it writes bytes and builds no tree. The caller nests
/// `object` and `array`; commas are the writer's business.
struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    private var needsComma = false

    var text: String { String(decoding: bytes, as: UTF8.self) }

    mutating func object(_ body: (inout JSONWriter) throws -> Void) rethrows {
        try nest(UInt8(ascii: "{"), UInt8(ascii: "}"), body)
    }

    mutating func array(_ body: (inout JSONWriter) throws -> Void) rethrows {
        try nest(UInt8(ascii: "["), UInt8(ascii: "]"), body)
    }

    mutating func key(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    mutating func string(_ value: String) {
        comma()
        bytes.append(UInt8(ascii: "\""))
        var value = value
        value.withUTF8 { utf8 in
            for byte in utf8 { escaped(byte) }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// A number, `true`, `false`, `null`, or any other text that is JSON already.
    mutating func raw(_ text: String) {
        comma()
        bytes.append(contentsOf: text.utf8)
    }

    mutating func number(_ value: Double) {
        // JSON has no infinities; `description` is the shortest text that reads back as the same number.
        raw(value.isFinite ? (value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)") : "null")
    }

    private mutating func nest(_ open: UInt8, _ close: UInt8, _ body: (inout JSONWriter) throws -> Void) rethrows {
        comma()
        bytes.append(open)
        needsComma = false
        try body(&self)
        bytes.append(close)
        needsComma = true
    }

    private mutating func comma() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func escaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case UInt8(ascii: "\n"):
            bytes.append(contentsOf: "\\n".utf8)
        case UInt8(ascii: "\t"):
            bytes.append(contentsOf: "\\t".utf8)
        case 0..<0x20:
            bytes.append(contentsOf: "\\u00".utf8)
            bytes.append("0123456789abcdef".utf8[byte >> 4])
            bytes.append("0123456789abcdef".utf8[byte & 15])
        default:
            bytes.append(byte)
        }
    }
}

extension String.UTF8View {
    fileprivate subscript(offset: UInt8) -> UInt8 { self[index(startIndex, offsetBy: Int(offset))] }
}
