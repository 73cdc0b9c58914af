import Postgres

/// How long some runs took, by the log of events.
public struct RunsTiming: Sendable, Hashable {
    /// From the first submit to the last end, in seconds.
    public var seconds: Double
    /// From the first start of a step to the last end of one, in seconds.
    public var workingSeconds: Double
    /// The lowest and the highest of their ids.
    public var runIds: ClosedRange<Int64>
    public var completedRuns: Int
    public var endedRuns: Int
    public var completedSteps: Int
    /// Completed steps a second over the first and the last tenth of all completions; nil where there are too few.
    public var firstTenthRate: Double?
    public var lastTenthRate: Double?
}

/// When a run was submitted and when it ended, in seconds since 1970; by the log of events.
public struct RunSpan: Sendable, Hashable {
    public var runId: Int64
    public var submittedAt: Double
    public var endedAt: Double?
    public var completed: Bool

    public init(runId: Int64, submittedAt: Double, endedAt: Double?, completed: Bool) {
        self.runId = runId
        self.submittedAt = submittedAt
        self.endedAt = endedAt
        self.completed = completed
    }
}

extension Client {
    /// The first of a version's runs, from one on, that is not over; nil where all are.
    public func firstBusyRun(from run: Int64, versionId: Int) async throws(MillraceError) -> Int64? {
        let sql = """
            select run_id from millrace.runs
            where run_id >= $1 and version_id = $2 and finished_at is null order by run_id limit 1
            """
        return try await rows(sql, [.int64(run), .int32(Int32(versionId))]) { row throws(PostgresError) in
            try row.int64(0)
        }.first
    }

    /// - Parameter runs: The runs' ids.
    public func timing(of runs: [Int64]) async throws(MillraceError) -> RunsTiming {
        let sql = """
            with event as materialized (
                select kind, extract(epoch from at)::float8 as at from millrace.events where run_id = any ($1)),
            ended as (
                select coalesce(max(at) filter (where kind in ('run_completed', 'run_failed', 'run_cancelled'))
                                - min(at) filter (where kind = 'run_submitted'), 0) as seconds,
                       coalesce(max(at) filter (where kind = 'step_completed')
                                - min(at) filter (where kind = 'step_started'), 0) as working,
                       count(*) filter (where kind = 'run_completed') as completed,
                       count(*) filter (where kind in ('run_completed', 'run_failed', 'run_cancelled')) as ended
                from event),
            step as (
                select count(*) as n, percentile_disc(array[0, 0.1, 0.9, 1]) within group (order by at) as at
                from event where kind = 'step_completed')
            select ended.seconds, ended.completed, ended.ended, step.n,
                   n * 0.1 / nullif(step.at[2] - step.at[1], 0), n * 0.1 / nullif(step.at[4] - step.at[3], 0), ended.working
            from ended, step
            """
        return try await row(sql, [.int64s(runs)]) { row throws(PostgresError) in
            RunsTiming(
                seconds: try row.double(0),
                workingSeconds: try row.double(6),
                runIds: (runs.min() ?? 0)...(runs.max() ?? 0),
                completedRuns: Int(try row.int64(1)),
                endedRuns: Int(try row.int64(2)),
                completedSteps: Int(try row.int64(3)),
                firstTenthRate: try row.decode(4, as: Double?.self),
                lastTenthRate: try row.decode(5, as: Double?.self)
            )
        }
    }

    /// - Parameter runs: The runs' ids.
    public func spans(of runs: [Int64]) async throws(MillraceError) -> [RunSpan] {
        let sql = """
            select run_id, min(extract(epoch from at)::float8) filter (where kind = 'run_submitted'),
                   max(extract(epoch from at)::float8) filter (where kind in ('run_completed', 'run_failed', 'run_cancelled')),
                   bool_or(kind = 'run_completed')
            from millrace.events where run_id = any ($1) and step_no is null
            group by run_id having bool_or(kind = 'run_submitted') order by run_id
            """
        return try await rows(sql, [.int64s(runs)]) { row throws(PostgresError) in
            RunSpan(
                runId: try row.int64(0),
                submittedAt: try row.double(1),
                endedAt: try row.decode(2, as: Double?.self),
                completed: try row.bool(3)
            )
        }
    }

    /// When the steps of some runs became ready, in seconds since 1970: `(run, step number, moment)`.
    public func readyMoments(
        of runs: [Int64]
    ) async throws(MillraceError) -> [(runId: Int64, stepNo: Int, readyAt: Double)] {
        let sql = """
            select run_id, step_no, extract(epoch from ready_at)::float8
            from millrace.steps where run_id = any ($1) and ready_at is not null
            """
        return try await rows(sql, [.int64s(runs)]) { row throws(PostgresError) in
            (try row.int64(0), try row.int(1), try row.double(2))
        }
    }
}
