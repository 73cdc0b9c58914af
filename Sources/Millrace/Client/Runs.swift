import Foundation
import Postgres

/// What a run is doing.
public struct RunSummary: Sendable, Hashable, Encodable {
    public var runId: Int64
    public var workflow: String
    public var version: Int
    public var tenant: String
    public var state: String
    public var createdAt: Date
    public var startedAt: Date?
    public var finishedAt: Date?
    public var steps: Int
    public var completed: Int
    public var failed: Int
    public var skipped: Int
    public var cancelled: Int
    public var running: Int

    /// Whether nothing more happens in it by itself.
    public var isOver: Bool { ["completed", "failed", "cancelled"].contains(state) }

    /// How long it took, from its start to its end; nil while it goes on.
    public var seconds: Double? {
        finishedAt.map { $0.timeIntervalSince(startedAt ?? createdAt) }
    }
}

/// How far a run is.
public struct RunProgress: Sendable, Hashable, Encodable {
    public var runId: Int64
    public var workflow: String
    public var state: String
    public var steps: Int
    public var pending: Int
    public var waiting: Int
    public var ready: Int
    public var running: Int
    public var completed: Int
    public var failed: Int
    public var skipped: Int
    public var cancelled: Int
    /// From 0 to 1, by expected durations.
    public var fractionDone: Double
    public var remainingSeconds: Double?
    public var estimatedEnd: Date?

    public var isOver: Bool { ["completed", "failed", "cancelled"].contains(state) }
}

/// Which runs to list.
public struct RunFilter: Sendable, Hashable {
    public var workflow: String?
    public var states: [String] = []
    public var tenant: String?
    public var limit = 20

    public init() {}
}

extension Client {
    private static let summaryColumns = """
        run_id, workflow, version, tenant, state::text, created_at, started_at, finished_at, steps_total, steps_completed,
        steps_failed, steps_skipped, steps_cancelled, steps_running
        """

    /// - Throws: ``MillraceError`` with code `not_found` where there is no such run.
    public func run(_ id: Int64) async throws(MillraceError) -> RunSummary {
        let sql = "select \(Self.summaryColumns) from millrace.runs where run_id = $1"
        guard let run = try await rows(sql, [.int64(id)], Self.summary).first else { throw Self.unknown(id) }
        return run
    }

    /// The newest runs first.
    public func runs(_ filter: RunFilter = .init()) async throws(MillraceError) -> [RunSummary] {
        let sql = """
            select \(Self.summaryColumns) from millrace.runs
            where ($1::text is null or workflow = $1) and ($2::text[] is null or state::text = any ($2))
              and ($3::text is null or tenant = $3)
            order by run_id desc limit $4
            """
        let parameters: [Parameter] = [
            .text(filter.workflow), filter.states.isEmpty ? .text(nil) : .texts(filter.states), .text(filter.tenant),
            .int32(Int32(filter.limit)),
        ]
        return try await rows(sql, parameters, Self.summary)
    }

    public func progress(_ id: Int64) async throws(MillraceError) -> RunProgress {
        let sql = """
            select run_id, workflow, state::text, steps_total, steps_pending, steps_waiting, steps_ready, steps_running,
                   steps_completed, steps_failed, steps_skipped, steps_cancelled, fraction_done::float8,
                   remaining_seconds::float8, estimated_end
            from millrace.run_progress where run_id = $1
            """
        let found = try await rows(sql, [.int64(id)]) { row throws(PostgresError) in
            RunProgress(
                runId: try row.int64(0),
                workflow: try row.string(1),
                state: try row.string(2),
                steps: try row.int(3),
                pending: try row.int(4),
                waiting: try row.int(5),
                ready: try row.int(6),
                running: try row.int(7),
                completed: try row.int(8),
                failed: try row.int(9),
                skipped: try row.int(10),
                cancelled: try row.int(11),
                fractionDone: try row.decode(12, as: Double?.self) ?? 0,
                remainingSeconds: try row.decode(13, as: Double?.self),
                estimatedEnd: try row.date(14)
            )
        }
        guard let progress = found.first else { throw Self.unknown(id) }
        return progress
    }

    static func unknown(_ run: Int64) -> MillraceError {
        MillraceError(.notFound, "There is no run \(run).", hint: "millrace runs lists what there is.")
    }

    private static func summary(_ row: Row) throws(PostgresError) -> RunSummary {
        RunSummary(
            runId: try row.int64(0),
            workflow: try row.string(1),
            version: try row.int(2),
            tenant: try row.string(3),
            state: try row.string(4),
            createdAt: try row.date(5) ?? .distantPast,
            startedAt: try row.date(6),
            finishedAt: try row.date(7),
            steps: try row.int(8),
            completed: try row.int(9),
            failed: try row.int(10),
            skipped: try row.int(11),
            cancelled: try row.int(12),
            running: try row.int(13)
        )
    }
}

extension Row {
    func date(_ column: Int) throws(PostgresError) -> Date? {
        try decode(column, as: Timestamp?.self).map { Date(timeIntervalSince1970: $0.secondsSince1970) }
    }
}
