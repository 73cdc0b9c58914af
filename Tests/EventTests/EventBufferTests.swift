import Millrace
import Postgres
import Testing

struct EventBufferTests {
    /// Events with the given ids; the last one of them has a position.
    private func read(_ ids: ClosedRange<Int64>, kind: String = "step_started") -> [Event] {
        ids.map { id in
            Event(
                eventID: id,
                runID: 1,
                kind: kind,
                at: Timestamp(microsecondsSince1970: id),
                workflow: "w",
                position: id == ids.upperBound ? "p\(id)" : nil
            )
        }
    }

    private func take(_ max: Int, _ buffer: inout EventBuffer) throws -> EventBatch {
        let batch = buffer.take(max: max)
        return try #require(batch)
    }

    /// How many events were kept, filtered and repeated.
    private func add(_ events: [Event], _ buffer: inout EventBuffer) -> [Int] {
        let added = buffer.add(events)
        return [added.kept, added.filtered, added.repeated]
    }

    private func ids(_ batch: EventBatch?) -> [Int64] { batch?.events.map(\.eventID) ?? [] }

    @Test func aPositionIsStoredWhenAllBeforeItIsDelivered() throws {
        var buffer = EventBuffer(capacity: 100, window: 100, filter: EventFilter())
        _ = buffer.add(read(1...4))
        _ = buffer.add(read(5...8))
        #expect(buffer.readPosition == "p8")
        let first = try take(3, &buffer)
        let second = try take(3, &buffer)
        #expect(ids(first) == [1, 2, 3] && ids(second) == [4, 5, 6])
        buffer.delivered(first)
        #expect(buffer.positionToStore == nil)
        buffer.delivered(second)
        #expect(buffer.positionToStore == "p4")
        buffer.stored("p4")
        #expect(buffer.positionToStore == nil)
        let third = try take(3, &buffer)
        #expect(buffer.isDelivering && buffer.isEmpty)
        buffer.delivered(third)
        #expect(buffer.positionToStore == "p8")
        #expect(!buffer.isDelivering)
    }

    @Test func whatIsHeldBackCountsWhenAllBeforeItIsDelivered() throws {
        var buffer = EventBuffer(capacity: 100, window: 100, filter: EventFilter(kinds: [.runCompleted]))
        #expect(add(read(1...4), &buffer) == [0, 4, 0])
        #expect(buffer.isEmpty)
        #expect(buffer.positionToStore == "p4")
        buffer.stored("p4")

        _ = buffer.add(read(5...5, kind: "run_completed"))
        _ = buffer.add(read(6...9))
        #expect(buffer.positionToStore == nil)
        let batch = try take(10, &buffer)
        #expect(ids(batch) == [5])
        _ = buffer.add(read(10...12))
        #expect(buffer.positionToStore == nil)
        buffer.delivered(batch)
        #expect(buffer.positionToStore == "p12")
    }

    @Test func whatIsReadAgainIsNotHandedOutAgain() throws {
        var buffer = EventBuffer(capacity: 100, window: 100, filter: EventFilter())
        _ = buffer.add(read(1...4))
        let batch = try take(2, &buffer)
        buffer.readAgain()
        #expect(buffer.readPosition == nil)
        #expect(add(read(1...6), &buffer) == [2, 0, 4])
        buffer.delivered(batch)
        #expect(buffer.positionToStore == nil)
        let rest = try take(10, &buffer)
        #expect(ids(rest) == [3, 4, 5, 6])
        buffer.delivered(rest)
        #expect(buffer.positionToStore == "p6")
    }

    @Test func aPositionOfBeforeIsNotStored() throws {
        var buffer = EventBuffer(capacity: 100, window: 100, filter: EventFilter())
        _ = buffer.add(read(1...4))
        buffer.delivered(try take(4, &buffer))
        #expect(buffer.positionToStore == "p4")
        buffer.readAgain()
        #expect(buffer.positionToStore == nil)
        #expect(add(read(1...4), &buffer)[2] == 4)
        #expect(buffer.positionToStore == "p4")
    }

    @Test func theWindowForgetsTheOldest() {
        var buffer = EventBuffer(capacity: 100, window: 3, filter: EventFilter())
        _ = buffer.add(read(1...4))
        #expect(add(read(2...4), &buffer)[2] == 3)
        #expect(add(read(1...1), &buffer)[2] == 0)
    }

    /// Reads, batches, deliveries and restarts at random: each event is handed out once, in order, and no position is
    /// stored before what it stands for has been delivered.
    @Test func atRandom() throws {
        for _ in 0..<200 {
            var buffer = EventBuffer(capacity: 1000, window: 1000, filter: EventFilter())
            var (handedOut, next, stored): ([Int64], Int64, Int64) = ([], 1, 0)
            var (out, delivered): ([EventBatch], Int64) = ([], 0)
            for _ in 0..<100 {
                switch Int.random(in: 0..<10) {
                case 0..<4:
                    let from = buffer.readPosition == nil ? stored + 1 : next
                    let last = max(next, from) + .random(in: 0..<5)
                    _ = buffer.add(read(from...last))
                    next = max(next, last + 1)
                case 4..<7:
                    guard let batch = buffer.take(max: .random(in: 1...7)) else { break }
                    handedOut += ids(batch)
                    out.append(batch)
                case 7..<9:
                    guard !out.isEmpty else { break }
                    let batch = out.removeFirst()
                    buffer.delivered(batch)
                    delivered = try #require(batch.events.last).eventID
                default: buffer.readAgain()
                }
                if let position = buffer.positionToStore {
                    let number = try #require(Int64(position.dropFirst()))
                    #expect(number <= delivered && number >= stored)
                    stored = number
                    buffer.stored(position)
                }
            }
            #expect(handedOut == Array(1..<Int64(handedOut.count + 1)))
        }
    }
}
