import MillraceTestSupport
import Postgres

/// Resumes what is paused and works until every run has ended and nothing is held.
struct DrainSession {
    private var session: Session

    init(_ session: Session) { self.session = session }

    mutating func run() async throws {
        let registered = try await query(
            "SELECT agent_id FROM millrace.register_agent($1, $2)",
            [.texts(WorkflowPlan.queues), .texts(WorkflowPlan.handlers)]
        )
        let agentID = Parameter.int32(try registered[0].decode(0))
        try await eventually("every run ends, every lost agent is found", within: .seconds(120)) {
            try await query("SELECT millrace.resume(run_id) FROM millrace.runs WHERE state = 'paused'")
            try await query("SELECT millrace.heartbeat($1)", [agentID])
            while case let work = try await query(
                "SELECT run_id, step_no, token FROM millrace.claim($1, 100)",
                [agentID]
            ).map(HandOut.init(row:)), !work.isEmpty {
                session.ledger.handedOut(work)
                try await report(work, for: agentID)
            }
            return try await query(
                """
                SELECT NOT EXISTS (SELECT FROM millrace_internal.run WHERE finished_at IS NULL)
                   AND NOT EXISTS (SELECT FROM millrace_internal.receipt)
                """
            )[0].decode(0)
        }
        try await query("SELECT millrace.deregister_agent($1)", [agentID])
    }

    private mutating func report(_ work: [HandOut], for agentID: Parameter) async throws {
        let reports = work.map { Report(handOut: $0, outcome: .completed, output: Report.output(of: $0)) }
        let answers = try await query(
            "SELECT answer FROM millrace.report($1, $2, $3, $4, $5, $6)",
            [
                agentID, .int64s(work.map(\.runID)), .int32s(work.map(\.stepNo)), .int32s(work.map(\.token)),
                .texts(reports.map(\.outcome.rawValue)), .texts(reports.map(\.output)),
            ]
        )
        for (report, answer) in zip(reports, answers) where try answer.decode(0) == "applied" {
            session.ledger.applied(report)
        }
    }

    @discardableResult
    private func query(_ sql: String, _ parameters: [Parameter] = []) async throws -> QueryResult {
        try await session.connection.query(sql, parameters)
    }
}
