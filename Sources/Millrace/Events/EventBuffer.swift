import DequeModule

/// What has been read and not been delivered, and how far each of the two is. No clock, no tasks, no database.
///
/// Some events carry a position. It may be stored as soon as all events up to there have been delivered, or were held
/// back: by the filter, or because they had been read before.
package struct EventBuffer: Sendable {
    /// How many events there is room for.
    package let capacity: Int
    private let filter: EventFilter
    private var events: Deque<Event> = []
    private var window: RecentNumbers
    /// Positions, each with the number of kept events that must have been delivered before it may be stored.
    private var marks: Deque<(kept: Int, position: String)> = []

    /// Events that were kept, handed out and delivered since the beginning.
    private var kept = 0
    private var handedOut = 0
    private var delivered = 0

    /// What the next read goes on after; nil for the stored position.
    package private(set) var readPosition: String?
    /// The position to store, where there is a new one.
    package private(set) var positionToStore: String?

    /// - Parameter window: How many event ids to remember, so that none of them is handed out twice.
    package init(capacity: Int, window: Int, filter: EventFilter) {
        self.capacity = capacity
        self.filter = filter
        self.window = RecentNumbers(capacity: window)
    }

    package var count: Int { events.count }
    package var isEmpty: Bool { events.isEmpty }
    /// Whether events have been handed out and are not delivered yet.
    package var isDelivering: Bool { delivered < handedOut }

    /// What became of events that were read.
    package struct Added: Equatable {
        package var kept = 0
        package var filtered = 0
        package var repeated = 0
    }

    /// Takes up what was read after ``readPosition``.
    package mutating func add(_ read: [Event]) -> Added {
        var added = Added()
        for event in read {
            if !window.insert(event.eventID) {
                added.repeated += 1
            } else if filter.passes(event) {
                events.append(event)
                added.kept += 1
            } else {
                added.filtered += 1
            }
            if let position = event.position { mark(position, kept: kept + added.kept) }
        }
        kept += added.kept
        reach()
        return added
    }

    /// Hands out the oldest events; nil where there are none.
    package mutating func take(max: Int) -> EventBatch? {
        guard !events.isEmpty else { return nil }
        let taken = Array(events.prefix(max))
        events.removeFirst(taken.count)
        handedOut += taken.count
        return EventBatch(events: taken, end: handedOut)
    }

    /// All up to a batch has been dealt with.
    package mutating func delivered(_ batch: EventBatch) {
        delivered = max(delivered, batch.end)
        reach()
    }

    /// The position was stored; a newer one may have come meanwhile.
    package mutating func stored(_ position: String) {
        if positionToStore == position { positionToStore = nil }
    }

    /// The positions at hand are not valid any more: reading goes on at the stored one. What comes again is in the
    /// window.
    package mutating func readAgain() {
        readPosition = nil
        positionToStore = nil
        marks.removeAll()
    }

    private mutating func mark(_ position: String, kept: Int) {
        readPosition = position
        if marks.last?.kept == kept { marks.removeLast() }
        marks.append((kept, position))
    }

    private mutating func reach() {
        while let mark = marks.first, mark.kept <= delivered {
            positionToStore = mark.position
            marks.removeFirst()
        }
    }
}

/// Numbers that were seen not long ago.
struct RecentNumbers: Sendable {
    private let capacity: Int
    private var order: Deque<Int64> = []
    private var numbers: Set<Int64> = []

    init(capacity: Int) {
        self.capacity = capacity
        order.reserveCapacity(capacity)
        numbers.reserveCapacity(capacity)
    }

    /// - Returns: Whether it is new.
    mutating func insert(_ number: Int64) -> Bool {
        guard capacity > 0 else { return true }
        guard numbers.insert(number).inserted else { return false }
        if order.count == capacity { numbers.remove(order.removeFirst()) }
        order.append(number)
        return true
    }
}

/// Events that are handed out together, per run in order.
public struct EventBatch: Sendable {
    public let events: [Event]
    /// How many events have been handed out up to its end.
    let end: Int
}
