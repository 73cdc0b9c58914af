import Postgres

/// Claims and reports at random: good and bad rows, one by one and in batches, and sometimes it just goes away.
struct WorkerSession {
    private var session: Session
    private let servesAll: Bool
    private var agentID: Int32 = 0
    private var held: [HandOut] = []
    private var beatsAt = ContinuousClock.now

    init(_ session: Session, servesAll: Bool) {
        self.session = session
        self.servesAll = servesAll
    }

    mutating func run(until end: WorkEnd) async throws {
        try await register()
        while !end.isReached {
            if ContinuousClock.now >= beatsAt { try await beat() }
            switch session.random.int(0...99) {
            case ..<40: try await claim()
            case ..<92: try await report()
            case ..<97: try await release()
            case ..<98: try await leave()
            default: try await vanish()
            }
            try await session.pause(upTo: 4)
        }
        try await deregister()
    }

    // MARK: Coming and going

    private mutating func register() async throws {
        let queues =
            servesAll || session.random.chance(0.5) ? WorkflowPlan.queues : [session.random.pick(WorkflowPlan.queues)]
        let handlers =
            servesAll || session.random.chance(0.5)
            ? WorkflowPlan.handlers : [session.random.pick(WorkflowPlan.handlers)]
        let answer = try await session.perform("register_agent") {
            try await $0.query(
                "SELECT agent_id FROM millrace.register_agent($1, $2, name => $3, lease => '1 s')",
                [.texts(queues), .texts(handlers), .text("model")]
            )
        }
        agentID = try answer?[0].decode(0, as: Int32.self) ?? 0
        held = []
    }

    private mutating func deregister() async throws {
        let agentID = agentID
        _ = try await session.perform("deregister_agent") {
            try await $0.query("SELECT millrace.deregister_agent($1)", [.int32(agentID)])
        }
        held = []
    }

    private mutating func leave() async throws {
        try await deregister()
        try await register()
    }

    /// Is never heard of again: the engine takes back what it held when its lease is over.
    private mutating func vanish() async throws {
        try await register()
    }

    private mutating func beat() async throws {
        let agentID = agentID
        let queued = held.filter { _ in session.random.chance(0.2) }
        let answer = try await session.perform("heartbeat") {
            try await $0.query(
                """
                SELECT (r->>'run_id')::bigint, (r->>'step_no')::int, (r->>'token')::int
                FROM millrace.heartbeat($1, $2, $3) beat, jsonb_array_elements(beat->'revoked') r
                """,
                [.int32(agentID), .int64s(queued.map(\.runID)), .int32s(queued.map(\.stepNo))]
            )
        }
        let revoked = try Set(answer?.map(HandOut.init(row:)) ?? [])
        held.removeAll { revoked.contains($0) }
        beatsAt = .now + .milliseconds(session.random.int(50...300))
    }

    // MARK: Work

    /// How many further steps a call asks for: mostly few, seldom none, and sometimes only of one handler.
    private mutating func appetite() -> (maxSteps: Int32, capacity: String?, maxBytes: Int32) {
        let handler = session.random.pick(WorkflowPlan.handlers)
        let capacity =
            servesAll && session.random.chance(0.2) ? #"{"\#(handler)": \#(session.random.int(0...3))}"# : nil
        return (Int32(session.random.int(0...6)), capacity, session.random.chance(0.05) ? 40 : 8_388_608)
    }

    private mutating func claim() async throws {
        let agentID = agentID
        let (maxSteps, capacity, maxBytes) = appetite()
        let answer = try await session.perform("claim", .random(using: &session.random)) {
            try await $0.query(
                "SELECT run_id, step_no, token FROM millrace.claim($1, $2, $3, $4)",
                [.int32(agentID), .int32(maxSteps), .json(capacity), .int32(maxBytes)]
            )
        }
        try take(answer?.map(HandOut.init(row:)) ?? [])
    }

    private mutating func take(_ handOuts: [HandOut]) {
        session.ledger.handedOut(handOuts)
        held += handOuts
    }

    private mutating func report() async throws {
        guard !held.isEmpty else { return }
        held.shuffle(using: &session.random)
        var reports = held.prefix(session.random.int(1...8)).map { Report.random(for: $0, using: &session.random) }
        if session.random.chance(0.2) { reports.append(reports[0]) }
        if session.random.chance(0.2) { reports.append(.bad(from: held[0], using: &session.random)) }
        reports.shuffle(using: &session.random)

        let agentID = agentID
        let (maxSteps, capacity, maxBytes) = appetite()
        let answer = try await session.perform("report", .random(using: &session.random)) { [reports] in
            try await $0.query(
                """
                SELECT answer, run_id, step_no, token, code, message FROM millrace.report($1, $2, $3, $4, $5, $6, $7, $8,
                    max_steps => $9, capacity => $10, max_bytes => $11)
                """,
                [
                    .int32(agentID), .int64s(reports.map(\.handOut.runID)), .int32s(reports.map(\.handOut.stepNo)),
                    .int32s(reports.map(\.handOut.token)), .texts(reports.map(\.outcome.rawValue)),
                    .texts(reports.map(\.output)), .texts(reports.map(\.error)),
                    .doubles(reports.map { _ in 0.001 as Double? }), .int32(maxSteps), .json(capacity),
                    .int32(maxBytes),
                ]
            )
        }
        guard let answer else { return }
        for (report, row) in zip(reports, answer) {
            let word: String = try row.decode(0)
            if !report.accepts(word) {
                session.ledger.complain(
                    "\(report.handOut), \(report.expectation) expected: \(word), \(try row.decode(5) ?? "")"
                )
            }
            if word == "applied" { session.ledger.applied(report) }
            if word == "applied" || word == "stale" { held.removeAll { $0 == report.handOut } }
        }
        try take(
            answer.dropFirst(reports.count).map { row in
                HandOut(runID: try row.decode(1), stepNo: try row.decode(2), token: try row.decode(3))
            }
        )
    }

    private mutating func release() async throws {
        let given = held.filter { _ in session.random.chance(0.3) }
        let agentID = agentID
        let answer = try await session.perform("release", .random(using: &session.random)) {
            try await $0.query(
                "SELECT millrace.release($1, $2, $3, $4)",
                [
                    .int32(agentID), .int64s(given.map(\.runID)), .int32s(given.map(\.stepNo)),
                    .int32s(given.map(\.token)),
                ]
            )
        }
        if answer != nil { held.removeAll { given.contains($0) } }
    }
}

extension HandOut {
    init(row: Row) throws {
        self.init(runID: try row.decode(0), stepNo: try row.decode(1), token: try row.decode(2))
    }
}
