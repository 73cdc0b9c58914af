import Foundation
import Postgres

/// A step that waits for a person.
public struct InboxItem: Sendable, Hashable, Encodable {
    public var runId: Int64
    public var stepNo: Int
    public var key: String
    public var workflow: String
    public var title: String?
    /// Who is to answer; nil where nobody has taken it.
    public var assignee: String?
    /// Who may take it; anybody where empty.
    public var candidates: [String]
    public var since: Date
    /// When its time is up.
    public var due: Date?
    public var tenant: String
    public var priority: Int
    public var labels: JSONValue
    /// What the answer must look like, in words of JSON Schema; nil where anything fits.
    public var answer: JSONValue?
}

/// Whose inbox to list.
public struct InboxFilter: Sendable, Hashable {
    /// What this person is assigned to, and what nobody is assigned to and this person may take.
    public var person: String?
    public var workflow: String?
    public var limit = 100

    public init() {}
}

extension Client {
    /// Gives a run a signal: the steps that wait for it complete with the payload, now or when they come to wait.
    ///
    /// - Returns: False where the run has had a signal of that name: the first stays.
    @discardableResult
    public func signal(_ run: Int64, name: String, payload: JSONValue? = nil) async throws(MillraceError) -> Bool {
        let sql = "select millrace.signal(run_id => $1, name => $2, payload => $3)"
        return try await row(sql, [.int64(run), .text(name), .json(payload?.json)]) { row throws(PostgresError) in
            try row.decode(0, as: Bool.self)
        }
    }

    /// What waits for people, what has waited longest first.
    public func inbox(_ filter: InboxFilter = .init()) async throws(MillraceError) -> [InboxItem] {
        let sql = """
            select run_id, step_no, key, workflow, title, assignee, candidates, since, due, tenant, priority::integer, labels, answer
            from millrace.inbox
            where ($1::text is null or assignee = $1 or assignee is null and (candidates is null or $1 = any (candidates)))
              and ($2::text is null or workflow = $2)
            order by since, run_id, step_no limit $3
            """
        let parameters: [Parameter] = [
            .text(filter.person), .text(filter.workflow), .int32(Int32(clamping: filter.limit)),
        ]
        let page = try await rows(sql, parameters) { row throws(PostgresError) in
            (
                InboxItem(
                    runId: try row.int64(0),
                    stepNo: try row.int(1),
                    key: try row.string(2),
                    workflow: try row.string(3),
                    title: try row.decode(4, as: String?.self),
                    assignee: try row.decode(5, as: String?.self),
                    candidates: try row.decode(6, as: [String]?.self) ?? [],
                    since: try row.date(7) ?? .distantPast,
                    due: try row.date(8),
                    tenant: try row.string(9),
                    priority: try row.int(10),
                    labels: .object([:])
                ),
                try row.string(11),
                try row.decode(12, as: String?.self)
            )
        }
        return try page.map { (item, labels, answer) throws(MillraceError) in
            var item = item
            item.labels = try JSONValue(json: labels)
            item.answer = try answer.map { (text) throws(MillraceError) in try JSONValue(json: text) }
            return item
        }
    }

    /// Answers a step that waits for a person.
    ///
    /// - Parameters:
    ///   - completedBy: Who answers; the database role where nil.
    ///   - stepNo: Which one, where several steps of the run have the same key.
    public func completeHumanStep(
        _ run: Int64,
        key: String,
        answer: JSONValue? = nil,
        completedBy: String? = nil,
        stepNo: Int? = nil
    ) async throws(MillraceError) {
        let sql = """
            select millrace.complete_human_step(run_id => $1, key => $2, answer => $3, completed_by => $4, step_no => $5)
            """
        _ = try await query(
            sql,
            [
                .int64(run), .text(key), .json(answer?.json), .text(completedBy),
                .int32(stepNo.map { Int32(clamping: $0) }),
            ]
        )
    }

    /// Says who is to answer; nil: any of the candidates.
    public func assignHumanStep(
        _ run: Int64,
        key: String,
        to assignee: String?,
        assignedBy: String? = nil
    ) async throws(MillraceError) {
        let sql = "select millrace.assign_human_step(run_id => $1, key => $2, assignee => $3, assigned_by => $4)"
        _ = try await query(sql, [.int64(run), .text(key), .text(assignee), .text(assignedBy)])
    }

    /// A person takes a step upon himself.
    ///
    /// - Returns: False where somebody else has it.
    public func claimHumanStep(_ run: Int64, key: String, person: String) async throws(MillraceError) -> Bool {
        let sql = "select millrace.claim_human_step(run_id => $1, key => $2, person => $3)"
        return try await row(sql, [.int64(run), .text(key), .text(person)]) { row throws(PostgresError) in
            try row.decode(0, as: Bool.self)
        }
    }
}
