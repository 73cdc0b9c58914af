import DequeModule

/// Which connection is where and who waits for one. No I/O happens here: each event answers what is to be done once
/// the lock is released. Generic, so that its rules can be tested without a server.
package struct PoolState<Member: Sendable & Identifiable, Waiter: Sendable>: Sendable where Member.ID: Sendable {
    package typealias Instant = ContinuousClock.Instant

    /// What is to be done outside of the lock, in this order.
    package struct Actions: Sendable {
        package var close: [Member] = []
        /// How many connections to make, and how long to wait before that.
        package var connect = 0
        package var delay = Duration.zero
        package var serve: [(Waiter, Lease)] = []
        package var fail: [(Waiter, PostgresError)] = []

        package init() {}
    }

    package struct Lease: Sendable {
        package let member: Member
        /// Whether to see first if the server still answers: another connection broke since this one was used.
        package let isSuspect: Bool
    }

    private struct Idle: Sendable {
        let member: Member
        let since: Instant
    }

    private struct Known: Sendable {
        let endOfLife: Instant
        var checkedLosses: Int
    }

    private struct Waiting: Sendable {
        let id: UInt64
        let waiter: Waiter
        let since: Instant
    }

    private var configuration: Pool.Configuration
    /// The one used last is at the end and is used first, so that those nobody needs grow old.
    private var idle: Deque<Idle> = []
    private var waiting: Deque<Waiting> = []
    private var members: [Member.ID: Known] = [:]
    private var connecting = 0
    private var failures = 0
    private var isRetrying = false
    private var lastError: PostgresError?
    package private(set) var isRunning = false
    private var isClosed = false
    private var counters = Pool.Statistics()

    package init(_ configuration: Pool.Configuration) { self.configuration = configuration }

    package var statistics: Pool.Statistics {
        var result = counters
        result.min = configuration.min
        result.max = configuration.max
        result.idle = idle.count
        result.inUse = members.count - idle.count
        result.connecting = connecting
        result.waiting = waiting.count
        return result
    }

    // MARK: Callers

    /// Asks for a connection. Nil: the waiter will be served or failed later.
    package mutating func acquire(
        _ id: UInt64,
        _ waiter: @autoclosure () -> Waiter,
        now: Instant,
        _ actions: inout Actions
    ) -> Swift.Result<Lease, PostgresError>? {
        guard !isClosed else { return .failure(Self.closed) }
        counters.acquires += 1
        if let lease = takeIdle(now: now, &actions) { return .success(lease) }
        counters.waits += 1
        waiting.append(Waiting(id: id, waiter: waiter(), since: now))
        grow(&actions)
        return nil
    }

    /// The caller no longer wants a connection. The waiter, unless it was served already.
    package mutating func abandon(_ id: UInt64, now: Instant) -> Waiter? {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return nil }
        let entry = waiting.remove(at: index)
        counters.waited += now - entry.since
        return entry.waiter
    }

    /// A connection comes back.
    package mutating func release(_ member: Member, isUsable: Bool, now: Instant) -> Actions {
        var actions = Actions()
        // One that broke was taken off the books then.
        guard let known = members[member.id] else { return actions }
        let isWanted = !isClosed && now < known.endOfLife && members.count <= configuration.max
        if isUsable, isWanted {
            offer(member, now: now, &actions)
        } else {
            members[member.id] = nil
            actions.close.append(member)
            grow(&actions)
        }
        return actions
    }

    // MARK: Connections

    package mutating func connected(_ member: Member, now: Instant) -> Actions {
        var actions = Actions()
        connecting -= 1
        failures = 0
        lastError = nil
        guard !isClosed, members.count < configuration.max else {
            actions.close.append(member)
            return actions
        }
        counters.connects += 1
        let jitter = 1 + configuration.lifetimeJitter * Double.random(in: -1...0)
        members[member.id] = Known(endOfLife: now + configuration.lifetime * jitter, checkedLosses: counters.losses)
        offer(member, now: now, &actions)
        grow(&actions)
        return actions
    }

    package mutating func connectFailed(_ error: PostgresError, now: Instant) -> Actions {
        var actions = Actions()
        connecting -= 1
        lastError = error
        failures += 1
        guard !isClosed else { return actions }
        if configuration.failsFast || error.isRefusal {
            for entry in waiting {
                counters.waited += now - entry.since
                actions.fail.append((entry.waiter, error))
            }
            waiting.removeAll()
        }
        // One try at a time until one succeeds.
        if connecting == 0 { retry(&actions) }
        return actions
    }

    /// The connection broke, whoever had it.
    package mutating func lost(_ member: Member) -> Actions {
        var actions = Actions()
        guard members.removeValue(forKey: member.id) != nil else { return actions }
        counters.losses += 1
        idle.removeAll { $0.member.id == member.id }
        if !isClosed { grow(&actions) }
        return actions
    }

    /// The server answered on a connection that was suspect.
    package mutating func checked(_ member: Member) { members[member.id]?.checkedLosses = counters.losses }

    // MARK: Time

    package mutating func start() -> Actions {
        var actions = Actions()
        isRunning = true
        grow(&actions)
        return actions
    }

    /// When the caller who has waited longest must be told.
    package var nextDeadline: Instant? { waiting.first.map { $0.since + configuration.acquireTimeout } }

    package mutating func expire(now: Instant) -> Actions {
        var actions = Actions()
        while let first = waiting.first, first.since + configuration.acquireTimeout <= now {
            waiting.removeFirst()
            counters.timeouts += 1
            counters.waited += now - first.since
            actions.fail.append((first.waiter, timeout))
        }
        return actions
    }

    /// Closes what is too old or not needed, makes what is missing.
    package mutating func tend(now: Instant) -> Actions {
        var actions = Actions()
        var kept: Deque<Idle> = []
        var surplus = members.count - configuration.min
        for entry in idle {
            let isOld = members[entry.member.id].map { now >= $0.endOfLife } ?? true
            let isUnneeded = surplus > 0 && now >= entry.since + configuration.idleTimeout
            if isOld || isUnneeded || members.count > configuration.max {
                members[entry.member.id] = nil
                actions.close.append(entry.member)
                surplus -= 1
            } else {
                kept.append(entry)
            }
        }
        idle = kept
        if !isClosed { grow(&actions) }
        return actions
    }

    package mutating func resize(min: Int?, max: Int?, now: Instant) -> Actions {
        if let max { configuration.max = Swift.max(1, max) }
        configuration.min = Swift.min(Swift.max(0, min ?? configuration.min), configuration.max)
        return tend(now: now)
    }

    /// No connection is handed out any more; those in use are closed when they come back.
    package mutating func close() -> Actions {
        var actions = Actions()
        isClosed = true
        actions.close = idle.map(\.member)
        for entry in idle { members[entry.member.id] = nil }
        idle.removeAll()
        actions.fail = waiting.map { ($0.waiter, Self.closed) }
        waiting.removeAll()
        return actions
    }

    // MARK: Inside

    private mutating func lease(_ member: Member) -> Lease {
        Lease(member: member, isSuspect: members[member.id].map { $0.checkedLosses < counters.losses } ?? true)
    }

    private mutating func takeIdle(now: Instant, _ actions: inout Actions) -> Lease? {
        while let entry = idle.popLast() {
            if let known = members[entry.member.id], now < known.endOfLife { return lease(entry.member) }
            members[entry.member.id] = nil
            actions.close.append(entry.member)
        }
        return nil
    }

    /// To the caller who has waited longest, else it rests.
    private mutating func offer(_ member: Member, now: Instant, _ actions: inout Actions) {
        if let next = waiting.popFirst() {
            counters.waited += now - next.since
            actions.serve.append((next.waiter, lease(member)))
        } else {
            idle.append(Idle(member: member, since: now))
        }
    }

    /// Makes as many connections as callers wait for and the minimum asks for, within the maximum. While the server
    /// cannot be reached only the one try that is repeated goes on.
    private mutating func grow(_ actions: inout Actions) {
        guard isRunning, !isClosed, failures == 0 else { return }
        let wanted = Swift.max(waiting.count - connecting, configuration.min - members.count - connecting)
        let count = Swift.min(wanted, configuration.max - members.count - connecting)
        guard count > 0 else { return }
        connecting += count
        actions.connect += count
    }

    private mutating func retry(_ actions: inout Actions) {
        connecting += 1
        actions.connect += 1
        actions.delay = configuration.backOff.delay(attempt: failures)
    }

    private var timeout: PostgresError {
        PostgresError(
            .timeout,
            "No connection of pool \"\(configuration.name)\" became free within \(configuration.acquireTimeout).",
            detail: lastError.map { "The last try to connect: \($0.message) \($0.detail ?? "")" }
                ?? "Of \(configuration.max) connections \(members.count) are in use and \(connecting) are being made; "
                + "\(waiting.count) other callers wait.",
            hint: isRunning
                ? (lastError?.hint ?? "Hold connections for shorter, or raise the pool's maximum.")
                : "The pool is not running: call run(), or use Pool.with."
        )
    }

    private static var closed: PostgresError { PostgresError(.closed, "The pool is closed.") }
}
