/// A value that travels to the server beside the statement, never inside its text.
///
/// All but ``text(_:)`` and ``json(_:)`` travel in PostgreSQL's binary format; nil is NULL of the type.
public struct Parameter: Sendable {
    /// What is sent. Nothing is encoded before the call is written, straight into the connection's buffer.
    enum Value: Sendable {
        case null
        case bool(Bool)
        case int16(Int16)
        case int32(Int32)
        case int64(Int64)
        case float(Float)
        case double(Double)
        case text(String)
        case bytes([UInt8])
        case bools([Bool])
        case int16s([Int16])
        case int32s([Int32])
        case int64s([Int64])
        case floats([Float])
        case doubles([Double])
        case texts([String])
        case jsons([String])
        case optionalInt32s([Int32?])
        case optionalInt64s([Int64?])
        case optionalDoubles([Double?])
        case optionalTexts([String?])
        case optionalJSONs([String?])
    }

    let type: TypeID
    let value: Value

    private init(_ type: TypeID, _ value: Value?) {
        self.type = type
        self.value = value ?? .null
    }

    var format: Format {
        if case .text = value { .text } else { .binary }
    }
}

extension Parameter {
    public static func bool(_ value: Bool?) -> Self { Self(.bool, value.map(Value.bool)) }
    public static func int16(_ value: Int16?) -> Self { Self(.int2, value.map(Value.int16)) }
    public static func int32(_ value: Int32?) -> Self { Self(.int4, value.map(Value.int32)) }
    public static func int64(_ value: Int64?) -> Self { Self(.int8, value.map(Value.int64)) }
    public static func float(_ value: Float?) -> Self { Self(.float4, value.map(Value.float)) }
    public static func double(_ value: Double?) -> Self { Self(.float8, value.map(Value.double)) }
    public static func bytes(_ value: [UInt8]?) -> Self { Self(.bytea, value.map(Value.bytes)) }

    /// A text whose type the server infers from where it stands: `text`, `jsonb`, `interval`, `timestamptz`, … It must
    /// not contain a NUL character.
    public static func text(_ value: String?) -> Self { Self(.unspecified, value.map(Value.text)) }

    /// A JSON text as `jsonb`.
    public static func json(_ value: String?) -> Self { Self(.jsonb, value.map(Value.text)) }
}

/// Arrays. An element may hold any content but a NUL character, with which the server refuses the whole statement.
extension Parameter {
    public static func bools(_ values: [Bool]) -> Self { Self(.boolArray, .bools(values)) }
    public static func int16s(_ values: [Int16]) -> Self { Self(.int2Array, .int16s(values)) }
    public static func int32s(_ values: [Int32]) -> Self { Self(.int4Array, .int32s(values)) }
    public static func int64s(_ values: [Int64]) -> Self { Self(.int8Array, .int64s(values)) }
    public static func floats(_ values: [Float]) -> Self { Self(.float4Array, .floats(values)) }
    public static func doubles(_ values: [Double]) -> Self { Self(.float8Array, .doubles(values)) }
    public static func texts(_ values: [String]) -> Self { Self(.textArray, .texts(values)) }
    public static func jsons(_ values: [String]) -> Self { Self(.jsonbArray, .jsons(values)) }
    public static func int32s(_ values: [Int32?]) -> Self { Self(.int4Array, .optionalInt32s(values)) }
    public static func int64s(_ values: [Int64?]) -> Self { Self(.int8Array, .optionalInt64s(values)) }
    public static func doubles(_ values: [Double?]) -> Self { Self(.float8Array, .optionalDoubles(values)) }
    public static func texts(_ values: [String?]) -> Self { Self(.textArray, .optionalTexts(values)) }
    public static func jsons(_ values: [String?]) -> Self { Self(.jsonbArray, .optionalJSONs(values)) }
}

extension Parameter: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .text(value) }
    public init(integerLiteral value: Int64) { self = .int64(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(nilLiteral: ()) { self = .text(nil) }
}

/// A statement with its parameters.
public struct Statement: Sendable {
    public var sql: String
    public var parameters: [Parameter]
    /// How the answer travels.
    public var format: Format
    /// Whether the server keeps the parsed statement for the next call with the same text on the same connection.
    public var prepared: Bool

    public init(_ sql: String, _ parameters: [Parameter] = [], format: Format = .binary, prepared: Bool = true) {
        self.sql = sql
        self.parameters = parameters
        self.format = format
        self.prepared = prepared
    }
}

/// How values travel.
public enum Format: Int32, Sendable {
    case text = 0
    case binary = 1
}
