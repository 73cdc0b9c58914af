import MillraceTestSupport
import Postgres
import Testing

@Suite struct QueryTests {
    @Test(arguments: [Format.text, .binary])
    func numbersOfAllWidths(format: Format) async throws {
        let sql = """
            select 1::int2, -2::int4, 9223372036854775807::int8, null::int4, true, false, 1.5::float4, -2.25::float8,
                -12345.678::numeric, 0.00012::numeric, 100000000::numeric, 4000000000::oid
            """
        try await Shared.withConnection { connection in
            let row = try #require(try await connection.query(Statement(sql, format: format)).first)
            #expect(try row.int16(0) == 1)
            #expect(try row.int32(1) == -2)
            #expect(try row.int64(2) == .max)
            #expect(try row.decode(3, as: Int32?.self) == nil)
            #expect(row.isNull(3))
            #expect(try row.bool(4))
            #expect(try !row.bool(5))
            #expect(try row.double(6) == 1.5)
            #expect(try row.double(7) == -2.25)
            #expect(try row.double(8) == -12345.678)
            #expect(try row.double(9) == 0.00012)
            #expect(try row.double(10) == 100_000_000)
            #expect(try row.int64(11) == 4_000_000_000)
            #expect(try row.int64(0) == 1)
        }
    }

    @Test func aValueThatDoesNotFitIsRefused() async throws {
        try await Shared.withConnection { connection in
            let row = try #require(try await connection.query("select 70000 as wide, null::int4 as missing").first)
            #expect(throws: PostgresError.self) { try row.int16(0) }
            #expect(throws: PostgresError.self) { try row.int32(1) }
            let error = try #require(await postgresError { _ = try row.decode("absent", as: Int.self) })
            #expect(error.code == .unexpectedValue)
            #expect(error.detail == "It has wide, missing.")
        }
    }

    @Test func parametersOfAllKindsComeBack() async throws {
        let parameters: [Parameter] = [
            .bool(true), .int16(-3), .int32(7), .int64(.min), .double(0.1), .text("ä'\"\\{}"),
            .json(#"{"a": [1, null]}"#),
            .bytes([0, 1, 255]), .text(nil), .int32(Int32?.none), .text("2 days 1 second"), .text(""), .bytes([]),
            .float(0.5),
        ]
        let sql = """
            select $1::bool, $2::int2, $3::int4, $4::int8, $5::float8, $6::text, $7::jsonb, $8::bytea, $9::text, $10::int4,
                $11::interval, $12::text, $13::bytea, $14::float4
            """
        try await Shared.withConnection { connection in
            let row = try #require(try await connection.query(sql, parameters).first)
            #expect(try row.bool(0))
            #expect(try row.int16(1) == -3)
            #expect(try row.int(2) == 7)
            #expect(try row.int64(3) == .min)
            #expect(try row.double(4) == 0.1)
            #expect(try row.string(5) == "ä'\"\\{}")
            #expect(try row.string(6) == #"{"a": [1, null]}"#)
            #expect(try row.bytes(6) == Array(#"{"a": [1, null]}"#.utf8))
            #expect(row.byteCount(6) == 16)
            #expect(try row.bytes(7) == [0, 1, 255])
            #expect(row.isNull(8) && row.isNull(9))
            #expect(try row.decode(10, as: Duration.self) == .seconds(2 * 86_400 + 1))
            #expect(try row.string(11).isEmpty && !row.isNull(11))
            #expect(try row.bytes(12).isEmpty && !row.isNull(12))
            #expect(try row.decode(13, as: Float.self) == 0.5)
        }
    }

    @Test func arraysHoldAnyContent() async throws {
        let texts: [String?] = ["", nil, "NULL", #"{"a","b"}"#, "it's", "\\", "🙂 ü", "a,b", " ", "\n\t\u{1}"]
        let parameters: [Parameter] = [
            .texts(texts), .int64s([.min, 0, .max]), .int32s([1, nil, -1]), .doubles([0.5, nil]),
            .bools([true, false]),
            .int16s([1, 2]), .texts([String]()), .jsons(["{}", nil, #"["x"]"#]), .floats([1.25]), .doubles([.infinity]),
        ]
        let sql = """
            select $1::text[], $2::int8[], $3::int4[], $4::float8[], $5::bool[], $6::int2[], $7::text[], $8::jsonb[],
                $9::float4[], $10::float8[], array_length($1::text[], 1)
            """
        try await Shared.withConnection { connection in
            let row = try #require(try await connection.query(sql, parameters).first)
            #expect(try row.decode(0, as: [String?].self) == texts)
            #expect(try row.decode(1, as: [Int64].self) == [.min, 0, .max])
            #expect(try row.decode(2, as: [Int32?].self) == [1, nil, -1])
            #expect(throws: PostgresError.self) { try row.decode(2, as: [Int32].self) }
            #expect(try row.decode(3, as: [Double?].self) == [0.5, nil])
            #expect(try row.decode(4, as: [Bool].self) == [true, false])
            #expect(try row.decode(5, as: [Int16].self) == [1, 2])
            #expect(try row.decode(6, as: [String].self) == [])
            #expect(try row.decode(7, as: [String?].self) == ["{}", nil, #"["x"]"#])
            #expect(try row.decode(8, as: [Float].self) == [1.25])
            #expect(try row.decode(9, as: [Double].self) == [.infinity])
            #expect(try row.int(10) == texts.count)
        }
    }

    @Test func aMomentIsReadToTheMicrosecond() async throws {
        try await Shared.withConnection { connection in
            let sql = "select '1999-12-31 23:59:59.000001+00'::timestamptz, 'infinity'::timestamptz"
            let row = try #require(try await connection.query(sql).first)
            #expect(try row.decode(0, as: Timestamp.self).microsecondsSince1970 == 946_684_799_000_001)
            #expect(try row.decode(1, as: Timestamp.self).microsecondsSince1970 == .max)
        }
    }

    @Test func aNULCharacterIsRefusedBeforeItIsSent() async throws {
        try await Shared.withConnection { connection in
            let error = await postgresError {
                _ = try await connection.call([
                    Statement("create table never ()"), Statement("select $1", [.text("a\0b")]),
                ])
            }
            #expect(error?.code == .invalidParameter)
            let result = try await connection.query("select to_regclass('never') is null")
            #expect(try result[0].bool(0))
        }
    }

    @Test func anErrorOfTheServerKeepsItsParts() async throws {
        let sql = """
            do $$ begin
                raise exception 'what' using errcode = 'MR041', detail = 'facts', hint = 'do this';
            end $$
            """
        try await Shared.withConnection { connection in
            let error = try #require(await postgresError { _ = try await connection.query(sql) })
            #expect(error.code == .server)
            #expect(error.sqlState == "MR041")
            #expect(error.message == "what")
            #expect(error.detail == "facts")
            #expect(error.hint == "do this")
            #expect(error.context?.contains("RAISE") == true)
            #expect(!error.isRetriable && !error.isConnectionLoss)
        }
    }

    @Test func aLargeAnswerIsReadWhole() async throws {
        try await Shared.withConnection { connection in
            let result = try await connection.query("select i, repeat('x', 100) from generate_series(1, 100000) i")
            #expect(result.count == 100_000)
            #expect(result.affected == 100_000)
            #expect(try result[99_999].int(0) == 100_000)
            #expect(result.commandTag == "SELECT 100000")
        }
    }

    @Test func aLargeParameterIsWrittenWhole() async throws {
        let text = String(repeating: "0123456789", count: 2_000_000)
        try await Shared.withConnection { connection in
            let answers = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<4 {
                    group.addTask { try await connection.query("select length($1::text)", [.text(text)])[0].int(0) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers == Array(repeating: 20_000_000, count: 4))
        }
    }

    @Test func aStatementIsPreparedOnceAndAnewWhenItsTableChanges() async throws {
        try await Shared.withConnection { connection in
            try await connection.execute(script: "create temp table changing (a int); insert into changing values (1)")
            for _ in 0..<3 { _ = try await connection.query("select * from changing") }
            let prepared = Statement("select count(*) from pg_prepared_statements", prepared: false)
            #expect(try await connection.query(prepared)[0].int(0) == 1)
            try await connection.execute(script: "alter table changing add b text default 'new'")
            let error = await postgresError { _ = try await connection.query("select * from changing") }
            #expect(error?.sqlState == "0A000" && error?.isRetriable == true)
            #expect(try await connection.query("select * from changing")[0].string(1) == "new")
            try await connection.execute(script: "deallocate all")
            _ = await postgresError { _ = try await connection.query("select * from changing") }
            #expect(try await connection.query("select * from changing")[0].int(0) == 1)
        }
    }

    @Test func quotedNamesStayNames() {
        #expect(Connection.quoteIdentifier(#"a"b"#) == #""a""b""#)
    }
}
