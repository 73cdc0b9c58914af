import Foundation
import Postgres

/// How far a running step is.
public struct StepProgress: Sendable, Hashable {
    public var handOut: HandOut
    /// 0 to 1; nil: nobody knows.
    public var fraction: Double?
    public var message: String?

    public init(handOut: HandOut, fraction: Double?, message: String?) {
        self.handOut = handOut
        self.fraction = fraction
        self.message = message
    }
}

/// A line that a running step has written.
public struct StepLogLine: Sendable, Hashable {
    public enum Stream: String, Sendable {
        case log, stdout, stderr
    }

    public var handOut: HandOut
    /// Counted from 1 within the hand-out; the database keeps each number once.
    public var number: Int32
    public var stream: Stream
    public var text: String
    /// Microseconds since 1970.
    public var at: Int64

    public init(handOut: HandOut, number: Int32, stream: Stream, text: String, at: Int64) {
        self.handOut = handOut
        self.number = number
        self.stream = stream
        self.text = text
        self.at = at
    }
}

/// What running steps say of themselves. The database passes over hand-outs that it has taken back.
extension WorkClient {
    public func report(agent: Int32, progress: [StepProgress]) async throws(MillraceError) {
        let sql = """
            select millrace.report_progress(agent_id => $1, run_ids => $2, step_nos => $3, tokens => $4, fractions => $5,
                                            messages => $6::text[])
            """
        let parameters: [Parameter] = [
            .int32(agent), .int64s(progress.map(\.handOut.runID)), .int32s(progress.map(\.handOut.stepNo)),
            .int32s(progress.map(\.handOut.token)), .doubles(progress.map(\.fraction)),
            Self.texts(progress.map(\.message), nul: "\u{fffd}"),
        ]
        _ = try await client.query(sql, parameters)
    }

    public func append(agent: Int32, lines: [StepLogLine]) async throws(MillraceError) {
        let sql = """
            select millrace.append_logs(agent_id => $1, run_ids => $2, step_nos => $3, tokens => $4, line_nos => $5,
                                        streams => $6, lines => $7::text[],
                                        ats => array(select to_timestamp(s / 1e6) from unnest($8::float8[]) s))
            """
        let parameters: [Parameter] = [
            .int32(agent), .int64s(lines.map(\.handOut.runID)), .int32s(lines.map(\.handOut.stepNo)),
            .int32s(lines.map(\.handOut.token)), .int32s(lines.map(\.number)), .texts(lines.map(\.stream.rawValue)),
            Self.texts(lines.map(\.text), nul: "\u{fffd}"), .doubles(lines.map { Double($0.at) }),
        ]
        _ = try await client.query(sql, parameters)
    }

    /// Keeps what a next attempt goes on from.
    ///
    /// - Parameter checkpoint: JSON text.
    public func save(agent: Int32, _ handOut: HandOut, checkpoint: String) async throws(MillraceError) {
        let sql = """
            select millrace.save_checkpoint(agent_id => $1, run_id => $2, step_no => $3, token => $4, state => $5::jsonb)
            """
        _ = try await client.query(sql, Self.parameters(agent, handOut) + [.text(checkpoint)])
    }

    /// What was saved last; nil where nothing was.
    public func checkpoint(agent: Int32, _ handOut: HandOut) async throws(MillraceError) -> String? {
        let sql = "select millrace.checkpoint(agent_id => $1, run_id => $2, step_no => $3, token => $4)::text"
        return try await client.row(sql, Self.parameters(agent, handOut)) { row throws(PostgresError) in
            try row.optionalString(0)
        }
    }

    static func parameters(_ agent: Int32, _ handOut: HandOut) -> [Parameter] {
        [.int32(agent), .int64(handOut.runID), .int32(handOut.stepNo), .int32(handOut.token)]
    }
}
