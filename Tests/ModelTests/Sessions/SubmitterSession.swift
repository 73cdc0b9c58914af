import Postgres

/// Defines random workflows and starts runs of them, in transactions of every fate.
struct SubmitterSession {
    private var session: Session
    private var workflows: [WorkflowPlan] = []
    private var defined = 0

    init(_ session: Session) { self.session = session }

    mutating func run(until end: WorkEnd) async throws {
        while !end.isReached {
            if workflows.isEmpty || session.random.chance(0.2) { try await define() }
            if try await runsAlive() < 50 { try await submit() }
            try await session.pause(upTo: 15)
        }
    }

    private mutating func runsAlive() async throws -> Int {
        try await session.perform("look") {
            try await $0.query("SELECT count(*) FROM millrace_internal.run WHERE finished_at IS NULL")
        }?[0].decode(0) ?? 0
    }

    private mutating func plan() -> WorkflowPlan {
        defined += 1
        return .random(name: "model_\(defined)", using: &session.random)
    }

    private mutating func define() async throws {
        let plan = plan()
        let answer = try await session.perform("define_workflow", .random(using: &session.random)) {
            try await $0.query("SELECT steps FROM millrace.define_workflow($1)", [.json(plan.json)])
        }
        if answer != nil { workflows.append(plan) }
    }

    private mutating func submit() async throws {
        guard let known = workflows.randomElement(using: &session.random) else { return }
        let inline = session.random.chance(0.1) ? plan() : nil
        let workflow = inline ?? known
        let postponed = session.random.chance(0.1) ? session.random.pick([0.02, 0.3]) : nil
        let deadline = session.random.chance(0.05) ? session.random.pick([0.1, 1]) : nil
        // Few keys: most are known already.
        let key = session.random.chance(0.2) ? "\(workflow.name) \(session.random.int(0...1))" : nil
        let parameters: [Parameter] = [
            .text(inline == nil ? workflow.name : nil), .json(#"{"number": \#(session.random.int(0...9))}"#),
            .int32(Int32(session.random.pick(weighted: [0: 6, -10: 1, 10: 1]))),
            .text(session.random.pick(weighted: ["": 4, "small": 1, "large": 1])),
            .double(postponed), .double(deadline), .text(key), .json(inline?.json),
        ]
        let answer = try await session.perform("submit", .random(using: &session.random)) {
            try await $0.query(
                """
                SELECT millrace.submit($1, $2, priority => $3, tenant => $4,
                    not_before => clock_timestamp() + make_interval(secs => $5),
                    deadline => clock_timestamp() + make_interval(secs => $6),
                    idempotency_key => $7, definition => $8)
                """,
                parameters
            )
        }
        guard let runID: Int64 = try answer?[0].decode(0) else { return }
        // A known key answers the first run, whatever is asked for now.
        if session.ledger.snapshot.runs[runID] == nil {
            session.ledger.submitted(runID, RunPlan(workflow: workflow, isPostponed: postponed != nil))
        }
    }
}
