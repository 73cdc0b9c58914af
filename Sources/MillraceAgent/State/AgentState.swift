import HeapModule
import Millrace

/// What an agent holds and what it is to do next; no clock, no tasks, no database.
///
/// Events go in (`landed`, `finished`, `announced`, …), decisions come out (`nextFlight`, `startable`, `overdue`,
/// `nextDue`). Whoever carries them out calls back with the next event.
package struct AgentState: Sendable {
    package typealias Instant = ContinuousClock.Instant

    /// A step that the agent holds and has not reported.
    struct Held: Sendable {
        let slot: Int
        /// The first step of the call that it is executed in; nil for a step by itself.
        var call: HandOut?
        var isRunning: Bool
        var begunAt: Instant?
        var stop: StopReason?
        var timeout: Double?
        var deadline: Instant?
        /// When it ends, where it has no task and only waits.
        var end: Instant?
    }

    struct Deadline: Sendable, Comparable {
        let at: Instant
        let handOut: HandOut

        static func < (left: Deadline, right: Deadline) -> Bool { left.at < right.at }
        static func == (left: Deadline, right: Deadline) -> Bool { left.at == right.at }
    }

    package let limits: AgentLimits
    package internal(set) var tuner: Tuner
    package internal(set) var slots: [HandlerSlot]
    let slotByName: [String: Int]

    /// Nil while not registered.
    package internal(set) var agentID: Int32?
    package internal(set) var isStopping = false

    var held: [HandOut: Held] = [:]
    /// What is held of each batch, by its first step; of those that run, by the first that began.
    var calls: [HandOut: Set<HandOut>] = [:]
    /// Steps in execution, over all slots; a batch is one.
    package internal(set) var running = 0
    /// Steps of immediate handlers that flights have brought and whose results have not come yet.
    var immediate = 0
    /// Results that wait for a flight.
    package internal(set) var results: [StepReport] = []
    var oldestResultAt: Instant?
    package internal(set) var flightsOut = 0
    /// Flights under way that ask for work.
    var claimsOut = 0
    /// Of timeouts, and the ends of steps that only wait.
    var deadlines = Heap<Deadline>()
    var nextLookAt: Instant
    /// Who is first when free slots are shared; moves on with each flight.
    var rotation = 0
    /// No flight before this moment.
    var pausedUntil: Instant?
    /// Flights that failed since the last one that landed.
    var failures = 0
    /// An answer was lost, and with it perhaps work that the database believes to be here.
    package internal(set) var mayHoldUnknown = false
    /// When to doubt once more: the call whose answer was lost may have been on its way in the database still, as one
    /// that waits for a standby.
    package internal(set) var doubtsAgainAt: Instant?
    static let secondDoubt = Duration.seconds(20)

    package init(limits: AgentLimits, slots: [HandlerSlot], now: Instant) {
        self.limits = limits
        tuner = Tuner(limits.tuning)
        self.slots = slots
        self.slotByName = Dictionary(uniqueKeysWithValues: slots.enumerated().map { ($0.element.name, $0.offset) })
        self.nextLookAt = now
    }

    // MARK: Registration and end

    package mutating func registered(as agentID: Int32, at now: Instant) {
        self.agentID = agentID
        pausedUntil = nil
        failures = 0
        announced()
        scheduleLook(after: now)
    }

    /// The database does not know the agent any more: nothing that it held is its own.
    ///
    /// - Returns: the running steps to stop.
    package mutating func registrationLost() -> [HandOut] {
        agentID = nil
        results.removeAll()
        oldestResultAt = nil
        mayHoldUnknown = false
        doubtsAgainAt = nil
        return stop(Array(held.keys), because: .revoked)
    }

    /// Takes no more work and gives back what has not begun.
    package mutating func stopClaiming(at now: Instant) {
        isStopping = true
        for (handOut, step) in held where !step.isRunning {
            forget(handOut, step)
            add(StepReport(handOut: handOut, outcome: .released), at: now)
        }
    }

    /// The time to finish is over.
    ///
    /// - Returns: the running steps to stop; they are given back as they end.
    package mutating func stopRunning() -> [HandOut] {
        stop(held.filter { $0.value.isRunning }.map(\.key), because: .stopping)
    }

    /// Nothing is held and nothing waits to be reported.
    package var isDrained: Bool { held.isEmpty && immediate == 0 && results.isEmpty && flightsOut == 0 }

    /// Steps that are held and have not begun, for the heartbeat.
    package var queuedSteps: [HandOut] { held.filter { !$0.value.isRunning }.map(\.key) }

    /// All that is held here or waits to be reported.
    package var known: [HandOut] { Array(held.keys) + results.map(\.handOut) }

    package var queued: Int { slots.reduce(0) { $0 + $1.queued } }

    /// Since when the oldest step waits here for a slot.
    package var queuedSince: Instant? { slots.compactMap { $0.queued > 0 ? $0.queue.first?.since : nil }.min() }

    // MARK: Time

    /// When to ask again, if nothing happens before.
    package func nextDue() -> Instant? {
        var due = deadlines.min?.at
        func consider(_ moment: Instant?) {
            guard let moment else { return }
            due = due.map { min($0, moment) } ?? moment
        }
        guard agentID != nil, flightsOut < tuner.tuning.flights else { return due }
        if mayHoldUnknown {
            if flightsOut == 0 { consider(pausedUntil) }
        } else if let pausedUntil {
            consider(pausedUntil)
        } else {
            consider(oldestResultAt.map { $0 + tuner.tuning.flushDelay })
            consider(queuedSince.map { $0 + limits.patience })
            consider(doubtsAgainAt)
            if !isStopping { consider(nextLookAt) }
        }
        return due
    }

    /// Work may be waiting.
    package mutating func announced() {
        for index in slots.indices { slots[index].announce() }
    }

    mutating func scheduleLook(after now: Instant) {
        nextLookAt = now + limits.lookInterval * Double.random(in: 0.8...1.2)
    }
}
