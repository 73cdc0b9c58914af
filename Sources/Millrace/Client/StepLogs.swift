import Foundation
import Postgres

/// A line of a step's log, as it is stored.
public struct StoredLogLine: Sendable, Hashable, Encodable {
    public var stepNo: Int
    public var key: String
    /// The hand-out that wrote it.
    public var token: Int
    /// Counted from 1 within the hand-out.
    public var lineNo: Int
    public var at: Date
    /// `log`, `stdout` or `stderr`.
    public var stream: String
    public var line: String
}

/// How far a reader of logs has come, by hand-out.
public struct StepLogPosition: Sendable {
    struct HandOutNumber: Hashable {
        var stepNo: Int
        var token: Int
    }

    var last: [HandOutNumber: Int] = [:]

    public init() {}

    mutating func pass(_ line: StoredLogLine) {
        let handOut = HandOutNumber(stepNo: line.stepNo, token: line.token)
        last[handOut] = max(last[handOut] ?? 0, line.lineNo)
    }
}

extension Client {
    /// What the steps of a run have written behind a position, which is moved there.
    ///
    /// - Parameters:
    ///   - key: Of that step alone; of all where nil.
    ///   - limit: At most so many lines.
    public func logs(
        of run: Int64,
        key: String? = nil,
        after position: inout StepLogPosition,
        limit: Int = 10_000
    ) async throws(MillraceError) -> [StoredLogLine] {
        let sql = """
            select l.step_no, l.key, l.token, l.line_no, l.at, l.stream, l.line
            from millrace.step_logs l
            left join unnest($3::int[], $4::int[], $5::int[]) seen (step_no, token, line_no)
                   on seen.step_no = l.step_no and seen.token = l.token
            where l.run_id = $1 and ($2::text is null or l.key = $2) and l.line_no > coalesce(seen.line_no, 0)
            order by l.at, l.step_no, l.token, l.line_no limit $6
            """
        var (steps, tokens, numbers): ([Int32], [Int32], [Int32]) = ([], [], [])
        for (handOut, number) in position.last {
            steps.append(Int32(handOut.stepNo))
            tokens.append(Int32(handOut.token))
            numbers.append(Int32(number))
        }
        let parameters: [Parameter] = [
            .int64(run), .text(key), .int32s(steps), .int32s(tokens), .int32s(numbers), .int32(Int32(limit)),
        ]
        let lines = try await rows(sql, parameters) { row throws(PostgresError) in
            StoredLogLine(
                stepNo: try row.int(0),
                key: try row.string(1),
                token: try row.int(2),
                lineNo: try row.int(3),
                at: try row.date(4) ?? .distantPast,
                stream: try row.string(5),
                line: try row.string(6)
            )
        }
        for line in lines { position.pass(line) }
        return lines
    }
}
