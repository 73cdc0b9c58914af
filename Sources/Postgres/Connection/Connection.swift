import Logging
import Synchronization

/// A connection to PostgreSQL.
///
/// Any number of tasks may call at once: their calls travel in a pipeline, each in an implicit transaction of its own,
/// and are answered in order. Cancelling a task cancels its call on the server.
///
/// A class with a lock, not an actor: a call writes to the socket on the caller's own thread, the answer is read on
/// the reactor's, and nobody ever waits inside the lock. An actor would add two switches of threads to each call.
public final class Connection: Sendable {
    private let state: Mutex<ConnectionState>
    private let registration: Reactor.Registration
    private let lastCall = Atomic<UInt64>(0)
    private let stream: AsyncStream<Notification>
    private let streamContinuation: AsyncStream<Notification>.Continuation
    private let notificationHandler = Mutex<NotificationHandler?>(nil)
    private let closeHandler = Mutex<(@Sendable (PostgresError) -> Void)?>(nil)
    private let logger: Logger

    /// The server process that serves this connection.
    public let backendPID: Int32
    /// Such as 150018 for 15.18.
    public let serverVersion: Int

    init(
        _ libpq: consuming LibpqConnection,
        _ registration: Reactor.Registration,
        notices: NoticeReceiver,
        logger: Logger
    ) {
        backendPID = libpq.backendPID
        serverVersion = libpq.serverVersion
        self.registration = registration
        state = Mutex(ConnectionState(libpq, notices: notices))
        self.logger = logger
        // A notification is a hint; who falls behind by so many looks anyway.
        (stream, streamContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(4096))
        Reactor.shared.begin(registration, owner: self)
    }

    deinit {
        registration.remove()
        streamContinuation.finish()
    }

    // MARK: Facts

    /// Whether it can be used. False from the moment in which its end was noticed.
    public var isOpen: Bool { state.withLock { $0.isOpen } }

    /// Whether nothing is under way and no transaction is open.
    var isIdle: Bool { state.withLock { $0.isIdle } }

    /// A setting that the server reports by itself, such as `server_version` or `TimeZone`.
    public func serverSetting(_ name: String) -> String? { state.withLock { $0.serverSetting(name) } }

    /// What `NOTIFY` sends to the channels that this connection listens to. For one consumer; ends with the connection.
    public var notifications: AsyncStream<Notification> { stream }

    /// Passes notifications to `handler` instead of to ``notifications``: at once, on the reactor's thread, where it
    /// must not wait. Set it before the first `LISTEN`.
    func onNotification(_ handler: @escaping @Sendable (Notification) -> Void) {
        notificationHandler.withLock { $0 = NotificationHandler(call: handler) }
    }

    /// A bare closure would be wrapped once more each time that it is read from a generic lock.
    private struct NotificationHandler {
        let call: @Sendable (Notification) -> Void
    }

    /// Calls once when the connection ends, at once if it has.
    func onClose(_ handler: @escaping @Sendable (PostgresError) -> Void) {
        closeHandler.withLock { $0 = handler }
        if let end = state.withLock({ $0.end }) { didEnd(end) }
    }

    /// Runs tasks on the one thread that reads what servers send: such a task goes on with an answer the moment that it
    /// is there. Nothing in it may wait, nor take long, for all answers of the program wait meanwhile.
    public static var answerExecutor: any TaskExecutor { Reactor.shared }

    // MARK: Calls

    /// Performs calls; each is answered on its own. They are written to the socket together.
    func perform(_ work: [Call.Work], cancellable: Bool = true) async -> [Call.Answer] {
        if cancellable, Task.isCancelled { return work.map { _ in .failure(.taskCancelled) } }
        if work.isEmpty { return [] }
        let first = lastCall.add(UInt64(work.count), ordering: .relaxed).oldValue + 1
        let ids = first..<(first + UInt64(work.count))
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answers = Answers(count: work.count, continuation)
                let calls = zip(ids, work).enumerated().map { index, call in
                    Call(id: call.0, work: call.1) { answers.set(index, $0) }
                }
                follow(state.withLock { $0.submit(calls) })
                // The handler may have run before there was anything to cancel.
                if cancellable, Task.isCancelled { cancel(ids) }
            }
        } onCancel: {
            if cancellable { cancel(ids) }
        }
    }

    private func cancel(_ ids: Range<UInt64>) {
        for id in ids { follow(state.withLock { $0.cancel(id) }) }
    }

    /// Ends the connection. Calls under way fail. May be called more than once.
    public func close() { close(.connectionClosed) }

    func close(_ reason: PostgresError) { follow(state.withLock { $0.close(reason) }) }

    // MARK: Doing what the state asks for

    private func follow(_ actions: ConnectionState.Actions) {
        if let request = actions.cancelRequest { send(request) }
        if !actions.notifications.isEmpty { deliver(actions.notifications) }
        if actions.ended { finish() } else { updateInterest() }
        // Last, so that who is resumed finds the connection as it is now.
        for call in actions.completed { call.complete(call.answer) }
    }

    private func deliver(_ notifications: [Notification]) {
        let handler = notificationHandler.withLock { $0 }
        for notification in notifications {
            if let handler { handler.call(notification) } else { streamContinuation.yield(notification) }
        }
    }

    private func updateInterest() {
        state.withLock { state in
            if state.isOpen { registration.update(writing: state.wantsToWrite) }
        }
    }

    private func send(_ request: CancelRequest) {
        BlockingThread.start { [self] in
            if let problem = request.send() {
                logger.warning("A cancel request could not be sent.", metadata: ["detail": "\(problem)"])
            }
            follow(state.withLock { $0.cancelDelivered() })
        }
    }

    private func finish() {
        registration.remove()
        streamContinuation.finish()
        let end = state.withLock { state in
            state.closeSocket()
            return state.end
        }
        if let end { didEnd(end) }
    }

    private func didEnd(_ reason: PostgresError) {
        closeHandler.withLock { handler in
            defer { handler = nil }
            return handler
        }?(reason)
    }
}

extension Connection: SocketOwner {
    func socketIsReady() { follow(state.withLock { $0.socketIsReady() }) }
}

/// Gathers the answers of several calls.
private final class Answers: Sendable {
    private let answers: Mutex<(missing: Int, values: [Call.Answer?])>
    private let continuation: CheckedContinuation<[Call.Answer], Never>

    init(count: Int, _ continuation: CheckedContinuation<[Call.Answer], Never>) {
        answers = Mutex((count, Array(repeating: nil, count: count)))
        self.continuation = continuation
    }

    func set(_ index: Int, _ answer: Call.Answer) {
        let complete: [Call.Answer]? = answers.withLock { state in
            state.values[index] = answer
            state.missing -= 1
            return state.missing == 0 ? state.values.compactMap { $0 } : nil
        }
        if let complete { continuation.resume(returning: complete) }
    }
}
