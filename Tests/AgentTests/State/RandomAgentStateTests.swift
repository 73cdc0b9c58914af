import Millrace
import MillraceAgent
import Testing

/// Random events against a database that only counts: nothing is lost, nothing is reported twice, no bound is passed.
@Suite struct RandomAgentStateTests {
    @Test(arguments: UInt64(1)...40) func nothingIsLost(seed: UInt64) {
        var generator = SplitMix(state: seed)
        let harness = StateHarness(
            concurrency: 5,
            batchSize: 7,
            flights: 2,
            handlers: [StateHarness.noop, HandlerSlot(name: "shell", limit: 3), HandlerSlot(name: "sleep", limit: 4)]
        )
        var running: [Work] = []
        var flying: [Flight] = []
        var handedOut: Set<HandOut> = []
        var settled: Set<HandOut> = []

        func check() {
            #expect(harness.state.running <= 5)
            for slot in harness.state.slots where !slot.isImmediate { #expect(slot.running <= slot.limit) }
            #expect(harness.state.flightsOut == flying.count)
            // A look beyond the free slots brings at most one step a handler.
            #expect(harness.state.queued <= 2 * 5 + 2)
        }

        /// The database answers a flight.
        func land(_ flight: Flight, brings: Bool) {
            for report in flight.reports {
                #expect(settled.insert(report.handOut).inserted, "reported twice")
            }
            var work: [Work] = []
            if brings, let capacity = flight.capacity {
                for (handler, room) in capacity.perHandler ?? [:] {
                    let count = Int.random(in: 0...min(room, capacity.maxSteps - work.count), using: &generator)
                    work += harness.work(count, handler: handler, timeout: Bool.random(using: &generator) ? 3 : nil)
                }
                handedOut.formUnion(work.map(\.handOut))
            }
            let immediate = harness.land(flight, bringing: work)
            harness.state.executed(
                immediate.map { StepReport(handOut: $0.handOut, outcome: .completed) },
                at: harness.now
            )
        }

        func finish(_ index: Int) {
            let results: [StepResult] = [.output(nil), .failed(.retriable("no")), .givenBack]
            harness.finish(running.remove(at: index), results.randomElement(using: &generator)!, elapsed: 0.01)
        }

        for _ in 0..<400 {
            switch Int.random(in: 0..<8, using: &generator) {
            case 0: harness.state.announced()
            case 1: harness.advance(by: .milliseconds(Int.random(in: 0...2000, using: &generator)))
            case 2, 3: if let flight = harness.fly() { flying.append(flight) }
            case 4, 5:
                if let index = flying.indices.randomElement(using: &generator) {
                    let flight = flying.remove(at: index)
                    if Int.random(in: 0..<6, using: &generator) == 0 {
                        harness.state.failed(flight, .rolledBack, at: harness.now)
                    } else {
                        land(flight, brings: true)
                    }
                }
            case 6: if let index = running.indices.randomElement(using: &generator) { finish(index) }
            default: #expect(harness.overdue().allSatisfy { late in running.contains { $0.handOut == late } })
            }
            for step in harness.startable() {
                if step.handler == "sleep" {
                    harness.state.waits(step.handOut, for: .milliseconds(Int.random(in: 0...4000, using: &generator)))
                } else {
                    running.append(step)
                }
            }
            check()
        }

        harness.state.stopClaiming(at: harness.now)
        while !running.isEmpty { finish(0) }
        while !harness.state.isDrained {
            harness.advance(by: .seconds(1))
            #expect(harness.overdue().isEmpty)
            while let flight = harness.fly() { flying.append(flight) }
            while let flight = flying.popLast() { land(flight, brings: false) }
        }
        #expect(settled == handedOut)
        #expect(harness.state.running == 0)
    }
}

/// A generator with a seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
