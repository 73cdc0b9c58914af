import CLibpq

/// The rows that a statement answered, as libpq received them: nothing is copied or converted before it is asked for.
///
/// Unchecked: libpq never changes a result once it has handed it out, and reading one is safe from any thread; the
/// only writer is `deinit`, which runs when nobody reads any more.
public final class QueryResult: @unchecked Sendable {
    let handle: OpaquePointer
    public let count: Int
    let columnCount: Int
    /// Each column's type and format, which every value of it needs: asked for once.
    private let kinds: [(type: TypeID, isBinary: Bool)]

    /// A column of the answer.
    public struct Column: Sendable, Hashable {
        public let name: String
        public let type: TypeID
        public let format: Format
    }

    /// Takes the result over.
    init(owning handle: OpaquePointer) {
        self.handle = handle
        count = Int(PQntuples(handle))
        columnCount = Int(PQnfields(handle))
        kinds = (0..<Int32(columnCount)).map { (TypeID(rawValue: PQftype(handle, $0)), PQfformat(handle, $0) == 1) }
    }

    deinit { PQclear(handle) }

    func kind(_ column: Int) -> (type: TypeID, isBinary: Bool) { kinds[column] }

    /// The columns in order.
    public var columns: [Column] {
        (0..<Int32(columnCount)).map { column in
            Column(
                name: String(cString: PQfname(handle, column)),
                type: TypeID(rawValue: PQftype(handle, column)),
                format: PQfformat(handle, column) == 1 ? .binary : .text
            )
        }
    }

    /// The number of a column. Look it up once, then use the number.
    public func column(_ name: String) -> Int? {
        (0..<columnCount).first { String(cString: PQfname(handle, Int32($0))) == name }
    }

    /// How many rows the statement inserted, changed, deleted or answered.
    public var affected: Int { Int(String(cString: PQcmdTuples(handle))) ?? 0 }

    /// What the server calls the thing that it did: `SELECT 1`, `INSERT 0 3`, `BEGIN`.
    public var commandTag: String { String(cString: PQcmdStatus(handle)) }
}

extension QueryResult: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    public subscript(index: Int) -> Row {
        precondition(index >= 0 && index < count, "row \(index) of \(count)")
        return Row(result: self, index: index)
    }
}

/// A row of an answer. It keeps the answer alive.
public struct Row: Sendable {
    public let result: QueryResult
    public let index: Int

    init(result: QueryResult, index: Int) {
        self.result = result
        self.index = index
    }

    /// The value as it came, valid as long as the row is.
    func value(_ column: Int) -> Value? {
        let row = Int32(truncatingIfNeeded: index)
        let number = Int32(truncatingIfNeeded: column)
        let kind = result.kind(column)
        let length = PQgetlength(result.handle, row, number)
        if length == 0, PQgetisnull(result.handle, row, number) == 1 { return nil }
        return Value(
            start: UnsafeRawPointer(PQgetvalue(result.handle, row, number)!),
            count: Int(length),
            type: kind.type,
            isBinary: kind.isBinary
        )
    }

    func unexpected(_ column: Int, _ what: String) -> PostgresError {
        let definition = result.columns[column]
        return PostgresError(
            .unexpectedValue,
            "Column \"\(definition.name)\" of row \(index) holds \(isNull(column) ? "NULL" : "a value") "
                + "that is no \(what).",
            detail: "Its type has the object identifier \(definition.type.rawValue)."
        )
    }
}

extension Row {
    public func isNull(_ column: Int) -> Bool {
        PQgetisnull(result.handle, Int32(truncatingIfNeeded: index), Int32(truncatingIfNeeded: column)) == 1
    }

    public func int64(_ column: Int) throws(PostgresError) -> Int64 { try decode(column) }
    public func int32(_ column: Int) throws(PostgresError) -> Int32 { try decode(column) }
    public func int16(_ column: Int) throws(PostgresError) -> Int16 { try decode(column) }
    public func int(_ column: Int) throws(PostgresError) -> Int { try decode(column) }
    public func bool(_ column: Int) throws(PostgresError) -> Bool { try decode(column) }
    public func double(_ column: Int) throws(PostgresError) -> Double { try decode(column) }
    public func string(_ column: Int) throws(PostgresError) -> String { try decode(column) }
    public func bytes(_ column: Int) throws(PostgresError) -> [UInt8] { try decode(column) }

    // Without the generic way over `Optional`, whose types the runtime would look up for each value.

    public func optionalInt32(_ column: Int) throws(PostgresError) -> Int32? {
        isNull(column) ? nil : try int32(column)
    }

    public func optionalInt64(_ column: Int) throws(PostgresError) -> Int64? {
        isNull(column) ? nil : try int64(column)
    }

    public func optionalDouble(_ column: Int) throws(PostgresError) -> Double? {
        isNull(column) ? nil : try double(column)
    }

    public func optionalString(_ column: Int) throws(PostgresError) -> String? {
        isNull(column) ? nil : try string(column)
    }

    /// How many bytes ``withBytes(_:_:)`` shows; 0 for NULL.
    public func byteCount(_ column: Int) -> Int { value(column)?.content.count ?? 0 }

    /// Shows the bytes of the value without copying them: the text of `text`, `json` and `jsonb`; nil for NULL.
    public func withBytes<R>(_ column: Int, _ body: (UnsafeRawBufferPointer?) throws -> R) rethrows -> R {
        // The result must outlive the pointer into it.
        try withExtendedLifetime(result) { try body(value(column)?.content) }
    }

    public func decode<T: PostgresDecodable>(_ column: Int, as type: T.Type = T.self) throws(PostgresError) -> T {
        guard let decoded = withExtendedLifetime(result, { T(value(column)) }) else {
            throw unexpected(column, "\(T.self)")
        }
        return decoded
    }

    public func decode<T: PostgresDecodable>(_ column: String, as type: T.Type = T.self) throws(PostgresError) -> T {
        guard let number = result.column(column) else {
            throw PostgresError(
                .unexpectedValue,
                "The answer has no column \"\(column)\".",
                detail: "It has \(result.columns.map(\.name).joined(separator: ", "))."
            )
        }
        return try decode(number, as: type)
    }
}
