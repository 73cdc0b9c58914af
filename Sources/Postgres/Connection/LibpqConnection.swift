import CLibpq

/// The one owner of a `PGconn`: libpq's non-blocking calls and nothing else. It never waits; who owns it waits for the
/// socket and then asks again.
///
/// Unchecked: libpq lets any thread use a connection, one at a time, which its single owner sees to.
struct LibpqConnection: ~Copyable, @unchecked Sendable {
    /// Nil once it is closed; then libpq's functions answer that the connection is bad.
    private var handle: OpaquePointer?
    /// Keeps the receiver alive to which libpq holds a bare pointer.
    private let notices: NoticeReceiver

    /// Takes the connection over, established, and makes it pipeline.
    init(owning handle: OpaquePointer, notices: NoticeReceiver) {
        self.handle = handle
        self.notices = notices
        PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
        PQsetnonblocking(handle, 1)
        PQenterPipelineMode(handle)
    }

    deinit { PQfinish(handle) }

    /// Says goodbye and closes the socket.
    mutating func close() {
        PQfinish(handle)
        handle = nil
    }

    var isBad: Bool { PQstatus(handle) == CONNECTION_BAD }
    var errorMessage: String { String(cString: PQerrorMessage(handle)).trimmed }
    var isInTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

    // MARK: Sending

    /// Writes what is buffered. True when the socket took less than all, nil when the connection is broken.
    func flush() -> Bool? {
        switch PQflush(handle) {
        case 0: false
        case 1: true
        default: nil
        }
    }

    func sync() -> Bool { PQpipelineSync(handle) == 1 }

    func prepare(_ name: String, _ sql: String, _ parameters: borrowing ParameterBuffer) -> Bool {
        parameters.types.withUnsafeBufferPointer {
            PQsendPrepare(handle, name, sql, Int32($0.count), $0.baseAddress) == 1
        }
    }

    func execute(prepared name: String, _ parameters: borrowing ParameterBuffer, _ format: Format) -> Bool {
        let count = Int32(parameters.count)
        let (lengths, formats) = (parameters.lengths, parameters.formats)
        return parameters.withValues {
            PQsendQueryPrepared(handle, name, count, $0, lengths, formats, format.rawValue) == 1
        }
    }

    func execute(_ sql: String, _ parameters: borrowing ParameterBuffer, _ format: Format) -> Bool {
        let count = Int32(parameters.count)
        let (types, lengths, formats) = (parameters.types, parameters.lengths, parameters.formats)
        return parameters.withValues {
            PQsendQueryParams(handle, sql, count, types, $0, lengths, formats, format.rawValue) == 1
        }
    }

    /// Sends a script of many statements, which libpq does not do in a pipeline: all answers must have been read.
    func sendScript(_ sql: String) -> Bool { PQexitPipelineMode(handle) == 1 && PQsendQuery(handle, sql) == 1 }

    func endScript() -> Bool { PQenterPipelineMode(handle) == 1 }

    // MARK: Receiving

    /// Reads what the socket has. False when the connection is broken.
    func consumeInput() -> Bool {
        // OpenSSL may hold up to a record of 16 KiB that the socket no longer announces, and each call reads at
        // least 8 KiB of it.
        for _ in 0..<(PQsslInUse(handle) == 1 ? 3 : 1) where PQconsumeInput(handle) == 0 { return false }
        return true
    }

    enum Answer {
        case result(QueryResult)
        case failure(PostgresError)
        /// An earlier command of the same call failed, so that this one was not run.
        case skipped
        /// The command has answered all it had to.
        case end
        /// All up to the end of the call has been answered.
        case sync
        /// The server waits in a protocol of its own, and libpq answers this for ever.
        case copy
        /// More has to be read first.
        case incomplete
    }

    func nextAnswer() -> Answer {
        if PQisBusy(handle) == 1 { return .incomplete }
        guard let result = PQgetResult(handle) else { return .end }
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
            return .result(QueryResult(owning: result))
        case PGRES_PIPELINE_SYNC:
            PQclear(result)
            return .sync
        case PGRES_PIPELINE_ABORTED:
            PQclear(result)
            return .skipped
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            PQclear(result)
            return .copy
        default:
            defer { PQclear(result) }
            return .failure(PostgresError(result: result))
        }
    }

    func nextNotification() -> Notification? {
        guard let notify = PQnotifies(handle) else { return nil }
        defer { PQfreemem(notify) }
        return Notification(
            channel: String(cString: notify.pointee.relname),
            payload: String(cString: notify.pointee.extra),
            backendPID: notify.pointee.be_pid
        )
    }

    // MARK: Facts

    var backendPID: Int32 { PQbackendPID(handle) }
    var serverVersion: Int { Int(PQserverVersion(handle)) }

    func serverSetting(_ name: String) -> String? { PQparameterStatus(handle, name).map { String(cString: $0) } }

    /// What a request to cancel needs, usable while the connection is in use elsewhere.
    func cancelRequest() -> CancelRequest? { PQgetCancel(handle).map(CancelRequest.init(owning:)) }
}

/// Asks the server to cancel what a connection runs, over a connection of its own.
///
/// Unchecked: libpq made it for use from another thread than the connection's; it is sent once.
final class CancelRequest: @unchecked Sendable {
    private let handle: OpaquePointer

    init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { PQfreeCancel(handle) }

    /// Blocks until the server has passed the request on; answers why it could not.
    func send() -> String? {
        var problem = [CChar](repeating: 0, count: 256)
        if PQcancel(handle, &problem, Int32(problem.count)) == 1 { return nil }
        return problem.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }.trimmed
    }
}

extension PostgresError {
    /// What a failed result says.
    init(result: OpaquePointer) {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue!)).map { String(cString: $0) }
        }
        let message = field("M") ?? String(cString: PQresultErrorMessage(result)).trimmed
        guard let sqlState = field("C") else {
            // libpq's own errors: the connection broke while the answer was awaited.
            self = .connectionLost(message)
            return
        }
        self.init(
            .server,
            message,
            sqlState: sqlState,
            detail: field("D"),
            hint: field("H"),
            context: field("W")
        )
    }

    /// A copy cannot be left in order, so the connection is closed with it.
    static let copyNotSupported = Self(
        .invalidParameter,
        "COPY from or to the client is not supported by this library.",
        hint: "Use insert with array parameters, or psql."
    )
}
