import Glibc

/// Parameters in the shape in which libpq takes them: five parallel arrays, the values one after another in one buffer.
///
/// A connection keeps one and fills it anew for each statement, so that a call allocates nothing once the buffer has
/// grown to the size of the calls.
struct ParameterBuffer {
    private(set) var types: [UInt32] = []
    private(set) var formats: [Int32] = []
    private(set) var lengths: [Int32] = []
    /// Where each value starts; nil for NULL.
    private var offsets: [Int?] = []
    private var bytes: [UInt8] = []

    /// No parameter, and no statement, is longer: the server's own limit of an allocation.
    private static let limit = 0x3FFF_FFFF

    /// A larger buffer is given back before the next statement.
    private static let keptCapacity = 4 * 1024 * 1024

    var count: Int { types.count }

    mutating func fill(with parameters: [Parameter]) throws(PostgresError) {
        types.removeAll(keepingCapacity: true)
        formats.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        offsets.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: bytes.capacity <= Self.keptCapacity)
        guard parameters.count <= Int(UInt16.max) else {
            throw PostgresError(
                .invalidParameter,
                "A statement takes at most 65,535 parameters, not \(parameters.count).",
                hint: "Pass arrays."
            )
        }
        for (index, parameter) in parameters.enumerated() {
            types.append(parameter.type.rawValue)
            formats.append(parameter.format.rawValue)
            let start = bytes.count
            if case .null = parameter.value {
                offsets.append(nil)
                lengths.append(0)
                continue
            }
            try append(parameter, index: index)
            guard bytes.count - start <= Self.limit else {
                throw PostgresError(.invalidParameter, "Parameter \(index + 1) is larger than 1 GiB.")
            }
            offsets.append(start)
            lengths.append(Int32(bytes.count - start))
        }
    }

    /// The values' addresses for the length of the call.
    func withValues<R>(_ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> R) -> R {
        bytes.withUnsafeBytes { buffer in
            // A value of length zero still needs an address: nil would be NULL.
            let base = buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
            let values = offsets.map { $0.map { (base + $0).assumingMemoryBound(to: CChar.self) } }
            return values.withUnsafeBufferPointer { body($0.baseAddress) }
        }
    }

    private mutating func append(_ parameter: Parameter, index: Int) throws(PostgresError) {
        switch parameter.value {
        case .null: break
        case .bool(let value): bytes.append(value ? 1 : 0)
        case .int16(let value): append(value)
        case .int32(let value): append(value)
        case .int64(let value): append(value)
        case .float(let value): append(Int32(bitPattern: value.bitPattern))
        case .double(let value): append(Int64(bitPattern: value.bitPattern))
        case .bytes(let value): bytes.append(contentsOf: value)
        case .text(let value):
            let start = bytes.count
            bytes.append(contentsOf: value.utf8)
            // Text parameters end with a NUL for libpq, and with the first one.
            bytes.append(0)
            if bytes.withUnsafeBytes({ memchr($0.baseAddress! + start, 0, $0.count - start - 1) != nil }) {
                throw PostgresError(
                    .invalidParameter,
                    "Parameter \(index + 1) contains a NUL character, which PostgreSQL cannot store in a text.",
                    hint: "Remove it, or pass bytes."
                )
            }
        case .bools(let values): appendArray(values, of: .bool) { $0.appendElement($1) }
        case .int16s(let values): appendArray(values, of: .int2) { $0.appendElement($1) }
        case .int32s(let values): appendArray(values, of: .int4) { $0.appendElement($1) }
        case .int64s(let values): appendArray(values, of: .int8) { $0.appendElement($1) }
        case .floats(let values):
            appendArray(values, of: .float4) { $0.appendElement(Int32(bitPattern: $1.bitPattern)) }
        case .doubles(let values):
            appendArray(values, of: .float8) { $0.appendElement(Int64(bitPattern: $1.bitPattern)) }
        case .texts(let values): appendArray(values, of: .text) { $0.appendElement($1) }
        case .jsons(let values): appendArray(values, of: .jsonb) { $0.appendJSONElement($1) }
        case .optionalInt32s(let values):
            appendArray(values, of: .int4) { buffer, value in
                if let value { buffer.appendElement(value) } else { buffer.appendNull() }
            }
        case .optionalInt64s(let values):
            appendArray(values, of: .int8) { buffer, value in
                if let value { buffer.appendElement(value) } else { buffer.appendNull() }
            }
        case .optionalDoubles(let values):
            appendArray(values, of: .float8) { buffer, value in
                if let value { buffer.appendElement(Int64(bitPattern: value.bitPattern)) } else { buffer.appendNull() }
            }
        case .optionalTexts(let values):
            appendArray(values, of: .text) { buffer, value in
                if let value { buffer.appendElement(value) } else { buffer.appendNull() }
            }
        case .optionalJSONs(let values):
            appendArray(values, of: .jsonb) { buffer, value in
                if let value { buffer.appendJSONElement(value) } else { buffer.appendNull() }
            }
        }
    }
}

/// The binary format of arrays: dimensions, whether NULLs may occur, element type, then per dimension its length and
/// lower bound, then each element behind its length, -1 for NULL. All integers in network order.
extension ParameterBuffer {
    private mutating func appendArray<Element>(
        _ values: [Element],
        of type: TypeID,
        _ appendElement: (inout ParameterBuffer, Element) -> Void
    ) {
        append(Int32(values.isEmpty ? 0 : 1))
        append(Int32(1))
        append(Int32(bitPattern: type.rawValue))
        guard !values.isEmpty else { return }
        append(Int32(values.count))
        append(Int32(1))
        for value in values { appendElement(&self, value) }
    }

    private mutating func append<Integer: FixedWidthInteger>(_ value: Integer) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func appendElement<Integer: FixedWidthInteger>(_ value: Integer) {
        append(Int32(MemoryLayout<Integer>.size))
        append(value)
    }

    private mutating func appendElement(_ value: Bool) {
        append(Int32(1))
        bytes.append(value ? 1 : 0)
    }

    private mutating func appendElement(_ value: String) {
        append(Int32(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    /// jsonb in binary is its text behind the number of the format.
    private mutating func appendJSONElement(_ value: String) {
        append(Int32(value.utf8.count + 1))
        bytes.append(1)
        bytes.append(contentsOf: value.utf8)
    }

    private mutating func appendNull() { append(Int32(-1)) }
}
