import Foundation
import Postgres

/// Which runs, and which of their failures, a call on many runs is about. What is nil is not asked.
public struct SteeringFilter: Sendable, Hashable {
    public var workflow: String?
    public var tenant: String?
    /// Among the run's labels.
    public var labels: [String: JSONValue]?
    /// Of the run: `running`, `paused`, `failed`.
    public var states: [String]?
    /// When the run was submitted: from the first on, before the second.
    public var createdFrom: Date?
    public var createdTo: Date?
    /// When the step failed.
    public var failedFrom: Date?
    public var failedTo: Date?
    /// A pattern of classes: `http:5xx`.
    public var errorClass: String?
    /// Runs of one call, the oldest first.
    public var maxRuns = 1000

    public init() {}

    private static func time(_ date: Date?) -> Parameter {
        .text(date?.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
    }

    /// The arguments that concern runs, numbered from here on.
    func runArguments(from first: Int) -> (sql: String, parameters: [Parameter]) {
        let sql = """
            workflow => $\(first), tenant => $\(first + 1), labels => $\(first + 2)::jsonb, states => $\(first + 3)::text[],
            created_from => $\(first + 4)::timestamptz, created_to => $\(first + 5)::timestamptz, max_runs => $\(first + 6)
            """
        return (
            sql,
            [
                .text(workflow), .text(tenant), .json(labels.map { JSONValue.object($0).json }),
                states.map(Parameter.texts) ?? .text(nil), Self.time(createdFrom), Self.time(createdTo),
                .int32(Int32(clamping: maxRuns)),
            ]
        )
    }

    /// Those, and the ones that concern failed steps.
    func arguments(from first: Int) -> (sql: String, parameters: [Parameter]) {
        var (sql, parameters) = runArguments(from: first)
        let next = first + parameters.count
        sql += """
            , failed_from => $\(next)::timestamptz, failed_to => $\(next + 1)::timestamptz, error_class => $\(next + 2)
            """
        parameters += [Self.time(failedFrom), Self.time(failedTo), .text(errorClass)]
        return (sql, parameters)
    }
}

/// What a call on many runs did with one of them.
public struct RetriedRun: Sendable, Hashable, Encodable {
    public var runId: Int64
    /// How many of its steps became ready; in a dry run, how many failures it would be about.
    public var steps: Int
}

extension Client {
    /// Tries failed steps of many runs again.
    ///
    /// - Parameter isDryRun: Answers what it would be about, and changes nothing.
    public func retry(
        where filter: SteeringFilter,
        key: String? = nil,
        isDryRun: Bool = false
    ) async throws(MillraceError) -> [RetriedRun] {
        let (arguments, parameters) = filter.arguments(from: 3)
        let sql = "select run_id, steps from millrace.retry_where(key => $1, dry_run => $2, \(arguments))"
        return try await rows(sql, [.text(key), .bool(isDryRun)] + parameters) { row throws(PostgresError) in
            RetriedRun(runId: try row.int64(0), steps: try row.int(1))
        }
    }

    /// Lets failed steps of one key count as completed, in many runs.
    ///
    /// - Returns: These runs.
    public func resolve(
        where filter: SteeringFilter,
        key: String,
        output: JSONValue? = nil,
        resolvedBy: String? = nil,
        reason: String? = nil,
        isDryRun: Bool = false
    ) async throws(MillraceError) -> [Int64] {
        let (arguments, parameters) = filter.arguments(from: 6)
        let sql = """
            select * from millrace.resolve_where(key => $1, output => $2, resolved_by => coalesce($3, current_user),
                reason => $4, dry_run => $5, \(arguments))
            """
        let own: [Parameter] = [.text(key), .json(output?.json), .text(resolvedBy), .text(reason), .bool(isDryRun)]
        return try await rows(sql, own + parameters) { row throws(PostgresError) in try row.int64(0) }
    }

    /// Ends many runs that are alive.
    ///
    /// - Returns: These runs.
    public func cancel(
        where filter: SteeringFilter,
        reason: String? = nil,
        isDryRun: Bool = false
    ) async throws(MillraceError) -> [Int64] {
        let (arguments, parameters) = filter.runArguments(from: 3)
        let sql = "select * from millrace.cancel_where(reason => $1, dry_run => $2, \(arguments))"
        return try await rows(sql, [.text(reason), .bool(isDryRun)] + parameters) { row throws(PostgresError) in
            try row.int64(0)
        }
    }

    /// Starts a run that keeps what another one had done, but for one step and all below it.
    ///
    /// - Returns: The new run.
    public func fork(_ run: Int64, from step: String) async throws(MillraceError) -> Int64 {
        let sql = "select millrace.fork(run_id => $1, from_step => $2)"
        return try await row(sql, [.int64(run), .text(step)]) { row throws(PostgresError) in try row.int64(0) }
    }
}
