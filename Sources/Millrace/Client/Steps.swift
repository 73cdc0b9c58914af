import Foundation
import Postgres

/// A step of a run.
public struct StepSummary: Sendable, Hashable, Encodable {
    public var stepNo: Int
    public var key: String
    public var state: String
    public var attempts: Int
    public var handler: String
    public var queue: String
    public var startedAt: Date?
    public var finishedAt: Date?
    /// What the handler took, in seconds.
    public var elapsed: Double?
    public var error: String?
    /// How far it says it is, 0 to 1, and in words.
    public var progress: Double?
    public var progressMessage: String?
}

/// Why a step is where it is.
public struct StepExplanation: Sendable, Hashable, Encodable {
    /// In one sentence.
    public var reason: String
    /// The facts behind it.
    public var data: JSONValue
}

/// A step on the longest way through a run.
public struct PathStep: Sendable, Hashable, Encodable {
    public var stepNo: Int
    public var key: String
    public var state: String
    /// What it took, or is expected to take.
    public var seconds: Double
}

extension Client {
    private static let columns = """
        step_no, key, state::text, attempts, handler, queue, started_at, finished_at,
        extract(epoch from elapsed)::float8, error
        """

    private static func summary(_ row: Row) throws(PostgresError) -> StepSummary {
        StepSummary(
            stepNo: try row.int(0),
            key: try row.string(1),
            state: try row.string(2),
            attempts: try row.int(3),
            handler: try row.string(4),
            queue: try row.string(5),
            startedAt: try row.date(6),
            finishedAt: try row.date(7),
            elapsed: try row.decode(8, as: Double?.self),
            error: try row.decode(9, as: String?.self)
        )
    }

    /// The steps of a run, in the order of their numbers.
    ///
    /// - Parameters:
    ///   - states: Only those; all where empty.
    ///   - limit: At most so many.
    public func steps(of run: Int64, states: [String] = [], limit: Int = 1_000_000) async throws(MillraceError)
        -> [StepSummary]
    {
        let sql = """
            select \(Self.columns), progress::float8, progress_message from millrace.steps
            where run_id = $1 and ($2::text[] is null or state::text = any ($2)) order by step_no limit $3
            """
        let parameters: [Parameter] = [
            .int64(run), states.isEmpty ? .text(nil) : .texts(states), .int32(Int32(limit)),
        ]
        return try await rows(sql, parameters) { row throws(PostgresError) in
            var step = try Self.summary(row)
            step.progress = try row.decode(10, as: Double?.self)
            step.progressMessage = try row.optionalString(11)
            return step
        }
    }

    /// The output of a step; nil where it has none.
    public func output(of key: String, run: Int64) async throws(MillraceError) -> JSONValue? {
        let sql = "select output from millrace.steps where run_id = $1 and key = $2 order by step_no limit 1"
        let found = try await rows(sql, [.int64(run), .text(key)]) { row throws(PostgresError) in
            try row.decode(0, as: String?.self)
        }
        guard let output = found.first else {
            throw MillraceError(.notFound, "Run \(run) has no step \"\(key)\".")
        }
        return try output.map { (text) throws(MillraceError) in try JSONValue(json: text) }
    }

    /// What keeps a step from being handed out, or what became of it.
    public func whyNotReady(_ run: Int64, key: String) async throws(MillraceError) -> StepExplanation {
        let sql = "select reason, data from millrace.why_not_ready(run_id => $1, key => $2)"
        let (reason, data) = try await row(sql, [.int64(run), .text(key)]) { row throws(PostgresError) in
            (try row.string(0), try row.string(1))
        }
        return StepExplanation(reason: reason, data: try JSONValue(json: data))
    }

    /// The longest way through a run, first step first.
    public func criticalPath(_ run: Int64) async throws(MillraceError) -> [PathStep] {
        let sql = "select step_no, key, state, seconds::float8 from millrace.critical_path(run_id => $1)"
        return try await rows(sql, [.int64(run)]) { row throws(PostgresError) in
            PathStep(
                stepNo: try row.int(0),
                key: try row.string(1),
                state: try row.string(2),
                seconds: try row.double(3)
            )
        }
    }

    /// The steps that could not complete any more if one failed.
    public func affectedBy(_ run: Int64, key: String) async throws(MillraceError) -> [StepSummary] {
        let sql = "select \(Self.columns) from millrace.affected_by(run_id => $1, key => $2)"
        return try await rows(sql, [.int64(run), .text(key)], Self.summary)
    }
}
