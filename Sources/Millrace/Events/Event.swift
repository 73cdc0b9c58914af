import Postgres

/// One state change of a run, or of one of its steps.
///
/// It keeps the answer that it came in alive; numbers are read at once, texts when they are asked for.
public struct Event: Sendable {
    public let eventID: Int64
    public let runID: Int64
    /// Nil where the event is of the run as a whole.
    public let stepNo: Int32?
    public let attempt: Int32?
    public let agentID: Int32?
    /// When it happened, by the database's clock.
    public let at: Timestamp
    /// The version of the workflow.
    public let version: Int32?
    private let content: Content

    /// What is text.
    public enum Field: Int, Sendable, CaseIterable {
        /// What happened: the name of an ``EventKind``, or of one that a newer server knows.
        case kind
        /// Facts, as JSON text; null where there are none.
        case data
        case workflow
        case tenant
        /// The step's key; null where the event is of the run as a whole.
        case key
        /// What reading goes on after; only some events have one, and the last one of each answer.
        case position
    }

    private enum Content: Sendable {
        case received(Row)
        /// By ``Field``.
        case made([String?])
    }

    /// The columns of `read_events`, in order.
    enum Column: Int {
        case eventID, runID, stepNo, kind, attempt, agentID, at, data, workflow, version, tenant, key, position

        static let names = """
            event_id, run_id, step_no, kind, attempt, agent_id, at, data, workflow, version, tenant, key, "position"
            """

        init(_ field: Field) {
            switch field {
            case .kind: self = .kind
            case .data: self = .data
            case .workflow: self = .workflow
            case .tenant: self = .tenant
            case .key: self = .key
            case .position: self = .position
            }
        }
    }

    init(_ row: Row) throws(PostgresError) {
        eventID = try row.int64(Column.eventID.rawValue)
        runID = try row.int64(Column.runID.rawValue)
        stepNo = try row.decode(Column.stepNo.rawValue)
        attempt = try row.decode(Column.attempt.rawValue)
        agentID = try row.decode(Column.agentID.rawValue)
        at = try row.decode(Column.at.rawValue)
        version = try row.decode(Column.version.rawValue)
        content = .received(row)
    }

    /// An event that no server wrote, for tests of what receives events.
    public init(
        eventID: Int64,
        runID: Int64,
        stepNo: Int32? = nil,
        kind: String,
        attempt: Int32? = nil,
        agentID: Int32? = nil,
        at: Timestamp,
        data: String? = nil,
        workflow: String,
        version: Int32 = 1,
        tenant: String = "",
        key: String? = nil,
        position: String? = nil
    ) {
        self.eventID = eventID
        self.runID = runID
        self.stepNo = stepNo
        self.attempt = attempt
        self.agentID = agentID
        self.at = at
        self.version = version
        content = .made([kind, data, workflow, tenant, key, position])
    }
}

extension Event {
    public var kind: String { text(.kind) ?? "" }
    public var data: String? { text(.data) }
    public var workflow: String { text(.workflow) ?? "" }
    public var tenant: String { text(.tenant) ?? "" }
    public var key: String? { text(.key) }
    public var position: String? { text(.position) }

    public func text(_ field: Field) -> String? {
        withBytes(field) { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    /// Shows the bytes of a text, UTF-8, without copying them where the event came from a server; nil for null.
    public func withBytes<R>(_ field: Field, _ body: (UnsafeRawBufferPointer?) throws -> R) rethrows -> R {
        switch content {
        case .received(let row):
            return try row.withBytes(Column(field).rawValue, body)
        case .made(let texts):
            guard var text = texts[field.rawValue] else { return try body(nil) }
            return try text.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
        }
    }
}

/// What an event tells.
public enum EventKind: String, Sendable, Hashable, CaseIterable {
    case runSubmitted = "run_submitted"
    case runPaused = "run_paused"
    case runResumed = "run_resumed"
    case runCompleted = "run_completed"
    case runFailed = "run_failed"
    case runCancelled = "run_cancelled"
    case runReopened = "run_reopened"
    case runEnding = "run_ending"
    case stepStarted = "step_started"
    case stepWaiting = "step_waiting"
    case stepReleased = "step_released"
    case stepCompleted = "step_completed"
    case stepFailed = "step_failed"
    case stepSkipped = "step_skipped"
    case stepCancelled = "step_cancelled"
    case stepResolved = "step_resolved"
    case stepReset = "step_reset"
    case runGrown = "run_grown"
    case runMigrated = "run_migrated"
    case stepAssigned = "step_assigned"
    case stepAnswered = "step_answered"
}

/// Which events somebody wants; an empty set means all.
public struct EventFilter: Sendable, Hashable {
    public var kinds: Set<EventKind>
    public var workflows: Set<String>
    public var tenants: Set<String>

    public init(kinds: Set<EventKind> = [], workflows: Set<String> = [], tenants: Set<String> = []) {
        self.kinds = kinds
        self.workflows = workflows
        self.tenants = tenants
    }

    public func passes(_ event: Event) -> Bool {
        (kinds.isEmpty || EventKind(rawValue: event.kind).map(kinds.contains) ?? false)
            && (workflows.isEmpty || workflows.contains(event.workflow))
            && (tenants.isEmpty || tenants.contains(event.tenant))
    }
}
