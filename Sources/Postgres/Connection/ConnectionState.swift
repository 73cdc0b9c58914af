/// What a connection's lock guards: the libpq connection, the calls and the statements the server keeps.
///
/// Its methods do what can be done without waiting and answer what is to be done after the lock is released.
struct ConnectionState: ~Copyable, Sendable {
    private var libpq: LibpqConnection
    private var calls = CallQueue()
    private var statements = StatementCache()
    private var parameters = ParameterBuffer()
    private let notices: NoticeReceiver
    /// Why it is over; nil while it is open.
    private(set) var end: PostgresError?
    /// Whether the socket took less than there is to write.
    private(set) var wantsToWrite = false

    init(_ libpq: consuming LibpqConnection, notices: NoticeReceiver) {
        self.libpq = consume libpq
        self.notices = notices
    }

    /// To be done without the lock.
    struct Actions {
        var completed: [Call] = []
        var notifications: [Notification] = []
        var cancelRequest: CancelRequest?
        var ended = false
    }

    var isOpen: Bool { end == nil }

    /// Whether it can be handed to somebody else: nothing under way, no transaction left open.
    var isIdle: Bool {
        isOpen && calls.isIdle && !libpq.isInTransaction
    }

    func serverSetting(_ name: String) -> String? { libpq.serverSetting(name) }

    // MARK: Events

    mutating func submit(_ newCalls: [Call]) -> Actions {
        var actions = Actions()
        if let end {
            actions.completed = newCalls.map { call in
                var call = call
                call.error = end
                return call
            }
            return actions
        }
        for call in newCalls { calls.add(call) }
        send(&actions)
        return actions
    }

    mutating func cancel(_ id: UInt64) -> Actions {
        var actions = Actions()
        follow(calls.cancel(id), &actions)
        return actions
    }

    mutating func cancelDelivered() -> Actions {
        var actions = Actions()
        if let call = calls.cancelDelivered() { actions.completed.append(call) }
        follow(calls.nextCancellation(), &actions)
        send(&actions)
        return actions
    }

    mutating func socketIsReady() -> Actions {
        var actions = Actions()
        guard isOpen else { return actions }
        let isAlive = libpq.consumeInput()
        receive(&actions)
        if isAlive {
            send(&actions)
        } else {
            let message = libpq.errorMessage
            finish(.connectionLost(notices.lastWords?.message ?? message), &actions)
        }
        return actions
    }

    /// Closes the connection; every call that was not answered fails with the reason.
    mutating func close(_ reason: PostgresError) -> Actions {
        var actions = Actions()
        finish(reason, &actions)
        return actions
    }

    /// Closes the socket of a connection that is over, after the reactor has let it go.
    mutating func closeSocket() { libpq.close() }

    private mutating func finish(_ reason: PostgresError, _ actions: inout Actions) {
        guard isOpen else { return }
        end = reason
        wantsToWrite = false
        actions.completed += calls.failAll(reason)
        actions.ended = true
    }

    private mutating func follow(_ cancellation: CallQueue.Cancellation, _ actions: inout Actions) {
        switch cancellation {
        case .none: break
        case .completed(var call):
            call.error = .taskCancelled
            actions.completed.append(call)
        case .request:
            // Without memory for the request it counts as delivered: the call just runs to its end.
            if let request = libpq.cancelRequest() {
                actions.cancelRequest = request
            } else if let call = calls.cancelDelivered() {
                actions.completed.append(call)
            }
        }
    }

    // MARK: Sending

    private mutating func send(_ actions: inout Actions) {
        while isOpen, let call = calls.next() {
            do {
                calls.noteSent(try write(call))
            } catch {
                var call = calls.unsend()
                call.error = error
                actions.completed.append(call)
                if error.isConnectionLoss { finish(error, &actions) }
            }
        }
        guard isOpen else { return }
        guard let isBlocked = libpq.flush() else {
            // What the server said last may still be there to be read.
            receive(&actions)
            return finish(.connectionLost(libpq.errorMessage), &actions)
        }
        wantsToWrite = isBlocked
    }

    private mutating func write(_ call: Call) throws(PostgresError) -> [Call.Command] {
        switch call.work {
        case .script(let sql):
            guard libpq.sendScript(sql) else { throw broken() }
            return [.execute(nil)]
        case .statements(let list):
            // Once a part has been written it cannot be taken back, so all of it is looked at before.
            if list.count > 1 {
                for statement in list { try parameters.fill(with: statement.parameters) }
            }
            var commands: [Call.Command] = []
            for statement in list { try write(statement, &commands) }
            guard libpq.sync() else { throw broken() }
            return commands
        }
    }

    private mutating func write(_ statement: Statement, _ commands: inout [Call.Command]) throws(PostgresError) {
        try parameters.fill(with: statement.parameters)
        var isWritten = false
        if statement.prepared {
            let key = StatementCache.Key(sql: statement.sql, types: parameters.types)
            switch statements.use(key) {
            case .whole:
                isWritten = libpq.execute(statement.sql, parameters, statement.format)
                commands.append(.execute(nil))
            case .prepare(let name):
                isWritten = libpq.prepare(name, statement.sql, parameters)
                isWritten = isWritten && libpq.execute(prepared: name, parameters, statement.format)
                commands.append(.prepare(key))
                commands.append(.execute(key))
            case .prepared(let name):
                isWritten = libpq.execute(prepared: name, parameters, statement.format)
                commands.append(.execute(key))
            }
        } else {
            isWritten = libpq.execute(statement.sql, parameters, statement.format)
            commands.append(.execute(nil))
        }
        if !isWritten { throw broken() }
    }

    /// libpq refuses to send only when it is out of memory or the connection is broken.
    private func broken() -> PostgresError { .connectionLost(libpq.errorMessage) }

    // MARK: Receiving

    private mutating func receive(_ actions: inout Actions) {
        while !calls.sent.isEmpty {
            let answer = libpq.nextAnswer()
            if case .incomplete = answer { break }
            if case .copy = answer { return finish(.copyNotSupported, &actions) }
            guard let isComplete = take(answer, &actions) else { break }
            if isComplete {
                if let call = calls.completeHead() { actions.completed.append(call) }
                follow(calls.nextCancellation(), &actions)
            }
        }
        while let notification = libpq.nextNotification() { actions.notifications.append(notification) }
    }

    /// Adds an answer to the first call. Whether the call is complete; nil when there is nothing more to read.
    private mutating func take(_ answer: LibpqConnection.Answer, _ actions: inout Actions) -> Bool? {
        switch answer {
        case .sync:
            return true
        case .end:
            if calls.sent[calls.sent.startIndex].isScript { return libpq.endScript() ? true : nil }
            // libpq answers "end" for ever once the connection is broken.
            return calls.updateHead { call in
                call.answered += 1
                return call.answered <= call.commands.count ? false : nil
            }
        case .result(let result):
            let command = calls.updateHead { call in
                let command = call.command
                if case .prepare = command {} else { call.results.append(result) }
                return command
            }
            if case .prepare(let key) = command { statements.confirm(key) }
            return false
        case .failure(let error):
            let reason = forget(calls.updateHead { $0.command }, error)
            calls.updateHead { $0.error = $0.error ?? reason }
            return false
        case .skipped:
            if case .prepare(let key) = calls.updateHead({ $0.command }) { statements.forget(key) }
            return false
        case .incomplete, .copy:
            return nil
        }
    }

    /// A statement that could not be prepared, that somebody deallocated, or whose tables have changed since, is
    /// prepared anew by the next call.
    private mutating func forget(_ command: Call.Command?, _ error: PostgresError) -> PostgresError {
        switch command {
        case .prepare(let key):
            statements.forget(key)
            return error
        case .execute(let key?) where error.sqlState == "26000" || error.sqlState == "0A000":
            statements.forget(key)
            // 0A000 says of other things too that they are not supported, and says it again when asked again.
            guard error.sqlState == "26000" || error.message.hasPrefix("cached plan") else { return error }
            return PostgresError(.interrupted, error.message, sqlState: error.sqlState, hint: "Repeat the call.")
        default:
            return error
        }
    }
}

extension Call {
    /// The command that the server answers now.
    fileprivate var command: Command? { answered < commands.count ? commands[answered] : nil }
}
