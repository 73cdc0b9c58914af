import DequeModule

/// What is asked of a server in one go, between two Syncs: one implicit transaction.
struct Call: Sendable {
    typealias Answer = Swift.Result<[QueryResult], PostgresError>

    enum Work: Sendable {
        case statements([Statement])
        /// Many statements in one text, over the simple protocol.
        case script(String)
    }

    /// What was sent for it: each command is answered by results and an end.
    enum Command: Sendable {
        case prepare(StatementCache.Key)
        case execute(StatementCache.Key?)
    }

    let id: UInt64
    let work: Work
    let complete: @Sendable (Answer) -> Void

    var commands: [Command] = []
    var answered = 0
    var results: [QueryResult] = []
    var error: PostgresError?
    /// Whether the task that made it was cancelled, and whether the server has been asked to cancel it.
    var isCancelled = false
    var isCancelRequested = false
    /// Whether a cancel for another call was under way while this one was.
    var wasExposed = false

    init(id: UInt64, work: Work, complete: @escaping @Sendable (Answer) -> Void) {
        self.id = id
        self.work = work
        self.complete = complete
    }

    var isScript: Bool {
        if case .script = work { true } else { false }
    }

    /// The server's word for a cancelled statement, said of the task that asked for it, or of a neighbour's.
    var answer: Answer {
        guard let error else { return .success(results) }
        guard error.sqlState == "57014" else { return .failure(error) }
        if isCancelRequested { return .failure(.taskCancelled) }
        guard wasExposed else { return .failure(error) }
        return .failure(
            PostgresError(
                .interrupted,
                "The call was rolled back because a call before it on the same connection was cancelled.",
                sqlState: error.sqlState,
                hint: "Repeat it."
            )
        )
    }
}

/// The calls of a connection, in order: those the server has, then those that wait. No I/O happens here.
///
/// Two things hold calls back: a script, which libpq sends only while nothing else is under way, and a request to
/// cancel, which names no call: until it has been delivered nothing new is sent, and the call that it is meant for is
/// not completed, so that it cannot hit what comes later.
struct CallQueue: Sendable {
    private(set) var sent: Deque<Call> = []
    private var waiting: Deque<Call> = []
    /// The call that a request to cancel is meant for, while it is under way.
    private var cancelling: UInt64?
    /// That call, answered before the request was delivered.
    private var held: Call?

    /// Whether nothing is under way.
    var isIdle: Bool { sent.isEmpty && waiting.isEmpty && held == nil && cancelling == nil }

    mutating func add(_ call: Call) { waiting.append(call) }

    /// The next call to send now, if there is one; it counts as sent.
    mutating func next() -> Call? {
        guard cancelling == nil, let call = waiting.first else { return nil }
        if let last = sent.last, last.isScript || call.isScript { return nil }
        sent.append(waiting.removeFirst())
        return call
    }

    /// Notes what was sent for the call that ``next()`` answered last.
    mutating func noteSent(_ commands: [Call.Command]) { sent[sent.endIndex - 1].commands = commands }

    /// Takes back the call that ``next()`` answered last: nothing of it was sent.
    mutating func unsend() -> Call { sent.removeLast() }

    /// Changes the call that the server answers now.
    mutating func updateHead<R>(_ body: (inout Call) -> R) -> R { body(&sent[sent.startIndex]) }

    /// The server has answered all of the first call. The call, unless it is held.
    mutating func completeHead() -> Call? {
        let call = sent.removeFirst()
        guard call.id == cancelling else { return call }
        held = call
        return nil
    }

    // MARK: Cancelling

    enum Cancellation {
        /// Nothing to do: it is over, or its turn has not come.
        case none
        /// It was not sent: it is over now.
        case completed(Call)
        /// Ask the server, then tell ``cancelDelivered()``.
        case request
    }

    mutating func cancel(_ id: UInt64) -> Cancellation {
        if let index = waiting.firstIndex(where: { $0.id == id }) {
            return .completed(waiting.remove(at: index))
        }
        guard let index = sent.firstIndex(where: { $0.id == id }) else { return .none }
        sent[index].isCancelled = true
        return nextCancellation()
    }

    /// Whether the call that the server works on now is to be cancelled.
    mutating func nextCancellation() -> Cancellation {
        guard cancelling == nil, let head = sent.first, head.isCancelled, !head.isCancelRequested else { return .none }
        cancelling = head.id
        sent[sent.startIndex].isCancelRequested = true
        for index in sent.indices.dropFirst() { sent[index].wasExposed = true }
        return .request
    }

    /// The request has been delivered, or could not be. The call that was held for it.
    mutating func cancelDelivered() -> Call? {
        cancelling = nil
        defer { held = nil }
        return held
    }

    /// The connection is over: all calls, in order, those failed that were not answered. A call that the server had
    /// begun to refuse keeps the server's reason.
    mutating func failAll(_ error: PostgresError) -> [Call] {
        defer { self = Self() }
        var calls = held.map { [$0] } ?? []
        for var call in sent + waiting {
            call.error = call.error ?? error
            calls.append(call)
        }
        return calls
    }
}
