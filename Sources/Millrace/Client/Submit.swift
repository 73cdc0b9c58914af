import Foundation
import Postgres

/// What to run, and how.
public struct Submission: Sendable, Hashable {
    public var workflow: String
    public var input: JSONValue?
    /// The latest version where nil.
    public var version: Int?
    /// Lower goes first.
    public var priority = 0
    /// Whose run it is; empty where nobody cares.
    public var tenant = ""
    public var labels: [String: JSONValue] = [:]
    /// Not started before this moment.
    public var notBefore: Date?
    /// Cancelled after this moment.
    public var deadline: Date?
    /// The same key again, of the same tenant, answers the run that it has and changes nothing.
    public var idempotencyKey: String?
    /// A W3C trace context that the steps get to see.
    public var trace: String?

    public init(workflow: String, input: JSONValue? = nil) {
        self.workflow = workflow
        self.input = input
    }
}

extension Client {
    /// Starts a run.
    ///
    /// - Returns: The run's id.
    public func submit(_ submission: Submission) async throws(MillraceError) -> Int64 {
        let sql = """
            select millrace.submit(workflow => $1, input => $2, version => $3, priority => $4, tenant => $5, labels => $6,
                not_before => $7::timestamptz, deadline => $8::timestamptz, idempotency_key => $9, trace => $10)
            """
        let parameters: [Parameter] =
            [.text(submission.workflow), .json(submission.input?.json)] + Self.common(submission)
            + [.text(submission.idempotencyKey), .text(submission.trace)]
        return try await row(sql, parameters) { row throws(PostgresError) in try row.int64(0) }
    }

    /// Starts many runs that differ in nothing but their input and key.
    ///
    /// - Parameters:
    ///   - submission: What they have in common; its own input and key are not looked at.
    ///   - inputs: One run for each.
    ///   - idempotencyKeys: One for each input, or none.
    /// - Returns: The runs' ids, in the order of the inputs.
    public func submitMany(
        _ submission: Submission,
        inputs: [JSONValue?],
        idempotencyKeys: [String]? = nil
    ) async throws(MillraceError) -> [Int64] {
        let sql = """
            select millrace.submit_many(workflow => $1, inputs => $2::jsonb[], version => $3, priority => $4, tenant => $5,
                labels => $6, not_before => $7::timestamptz, deadline => $8::timestamptz,
                idempotency_keys => $9::text[], trace => $10)
            """
        let inputs = inputs.map { $0?.json }
        let parameters: [Parameter] =
            [.text(submission.workflow), .jsons(inputs)] + Self.common(submission)
            + [idempotencyKeys.map { .texts($0) } ?? .text(nil), .text(submission.trace)]
        return try await rows(sql, parameters) { row throws(PostgresError) in try row.int64(0) }
    }

    private static func common(_ submission: Submission) -> [Parameter] {
        [
            .int32(submission.version.map(Int32.init)), .int32(Int32(submission.priority)), .text(submission.tenant),
            .json(JSONValue.object(submission.labels).json), .text(submission.notBefore.map(timestamp)),
            .text(submission.deadline.map(timestamp)),
        ]
    }

    private static func timestamp(_ date: Date) -> String {
        date.ISO8601Format(.iso8601(timeZone: .gmt, includingFractionalSeconds: true))
    }
}
