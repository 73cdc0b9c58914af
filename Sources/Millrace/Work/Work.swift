import Postgres

/// What fences a report: one hand-out of one step.
public struct HandOut: Hashable, Sendable {
    public var runID: Int64
    public var stepNo: Int32
    public var token: Int32

    public init(runID: Int64, stepNo: Int32, token: Int32) {
        self.runID = runID
        self.stepNo = stepNo
        self.token = token
    }
}

/// One handed-out step.
///
/// It keeps the answer that it came in alive; numbers are read at once, all else when it is asked for.
public struct Work: Sendable {
    public let handOut: HandOut
    public let attempt: Int32
    /// Seconds, counted from the handler's start; nil where there is none.
    public let timeout: Double?
    /// Which element of a fan-out it works on; nil outside of one.
    public let element: Int32?
    /// The steps of one answer with the same number are to be executed as one call; nil for a step by itself.
    public let batch: Int64?
    private let content: Content

    private enum Content: Sendable {
        /// A row, and where the columns of the work begin in it.
        case received(Row, Int)
        indirect case made(
            handler: String,
            workflow: String,
            key: String,
            settings: [UInt8]?,
            input: [UInt8]?,
            trace: String?
        )
    }

    /// The columns of *work*, in order; `report` puts its own before them.
    enum Column: Int {
        case runID, stepNo, token, attempt, workflow, key, handler, settings, input, timeout, element, trace,
            batch

        /// As a server answers them with whom this protocol was agreed on.
        static func names(_ protocolNumber: Int32) -> String {
            "run_id, step_no, token, attempt, workflow, key, handler, settings, input, timeout, element, trace, "
                + (protocolNumber >= 2 ? "batch" : "null::bigint")
        }
    }

    init(_ row: Row, from offset: Int) throws(PostgresError) {
        handOut = HandOut(
            runID: try row.int64(offset + Column.runID.rawValue),
            stepNo: try row.int32(offset + Column.stepNo.rawValue),
            token: try row.int32(offset + Column.token.rawValue)
        )
        attempt = try row.int32(offset + Column.attempt.rawValue)
        timeout = try row.optionalDouble(offset + Column.timeout.rawValue)
        element = try row.optionalInt32(offset + Column.element.rawValue)
        batch = try row.optionalInt64(offset + Column.batch.rawValue)
        content = .received(row, offset)
    }

    /// Work that no server handed out, for tests of handlers and agents.
    public init(
        handOut: HandOut,
        attempt: Int32 = 1,
        handler: String,
        workflow: String = "",
        key: String = "",
        settings: [UInt8]? = nil,
        input: [UInt8]? = nil,
        timeout: Double? = nil,
        element: Int32? = nil,
        trace: String? = nil,
        batch: Int64? = nil
    ) {
        self.handOut = handOut
        self.attempt = attempt
        self.timeout = timeout
        self.element = element
        self.batch = batch
        content = .made(
            handler: handler,
            workflow: workflow,
            key: key,
            settings: settings,
            input: input,
            trace: trace
        )
    }
}

extension Work {
    public var handler: String {
        switch content {
        case .received(let row, let offset): Self.text(row, offset, .handler) ?? ""
        case .made(let handler, _, _, _, _, _): handler
        }
    }

    public var workflow: String {
        switch content {
        case .received(let row, let offset): Self.text(row, offset, .workflow) ?? ""
        case .made(_, let workflow, _, _, _, _): workflow
        }
    }

    public var key: String {
        switch content {
        case .received(let row, let offset): Self.text(row, offset, .key) ?? ""
        case .made(_, _, let key, _, _, _): key
        }
    }

    /// The `with` of the definition as JSON text.
    public var settings: [UInt8]? {
        switch content {
        case .received(let row, let offset): Self.bytes(row, offset, .settings)
        case .made(_, _, _, let settings, _, _): settings
        }
    }

    /// The evaluated input as JSON text.
    public var input: [UInt8]? {
        switch content {
        case .received(let row, let offset): Self.bytes(row, offset, .input)
        case .made(_, _, _, _, let input, _): input
        }
    }

    /// The W3C trace context of the run.
    public var trace: String? {
        switch content {
        case .received(let row, let offset): Self.text(row, offset, .trace)
        case .made(_, _, _, _, _, let trace): trace
        }
    }

    public var hasSettings: Bool {
        switch content {
        case .received(let row, let offset): !row.isNull(offset + Column.settings.rawValue)
        case .made(_, _, _, let settings, _, _): settings != nil
        }
    }

    public var hasInput: Bool {
        switch content {
        case .received(let row, let offset): !row.isNull(offset + Column.input.rawValue)
        case .made(_, _, _, _, let input, _): input != nil
        }
    }

    /// The size of settings and input together.
    public var byteCount: Int {
        switch content {
        case .received(let row, let offset):
            row.byteCount(offset + Column.settings.rawValue) + row.byteCount(offset + Column.input.rawValue)
        case .made(_, _, _, let settings, let input, _):
            (settings?.count ?? 0) + (input?.count ?? 0)
        }
    }

    // The server sends UTF-8 and the columns are text and jsonb, so that there is nothing that could fail here.

    private static func text(_ row: Row, _ offset: Int, _ column: Column) -> String? {
        row.withBytes(offset + column.rawValue) { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    private static func bytes(_ row: Row, _ offset: Int, _ column: Column) -> [UInt8]? {
        row.withBytes(offset + column.rawValue) { $0.map { [UInt8]($0) } }
    }
}
