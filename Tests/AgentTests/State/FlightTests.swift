import Millrace
import MillraceAgent
import Testing

@Suite struct FlightTests {
    @Test func theFirstFlightClaimsWhatIsFree() throws {
        let harness = StateHarness(concurrency: 3)
        let flight = try #require(harness.fly())
        #expect(flight.isClaim)
        #expect(flight.capacity == Capacity(maxSteps: 3, perHandler: ["shell": 3]))
    }

    @Test func anUnregisteredAgentDoesNotFly() {
        let harness = StateHarness(registered: false)
        #expect(harness.fly() == nil)
    }

    @Test func anEmptyAnswerEndsTheLooking() throws {
        let harness = StateHarness()
        harness.land(try #require(harness.fly()))
        #expect(harness.fly() == nil)
        #expect(try #require(harness.state.nextDue()) > harness.now)
    }

    @Test func whatIsAnnouncedIsLookedFor() throws {
        let harness = StateHarness()
        harness.land(try #require(harness.fly()))
        harness.state.announced()
        #expect(harness.fly() != nil)
    }

    @Test func anAnnouncementDuringAFlightIsNotForgotten() throws {
        let harness = StateHarness()
        let flight = try #require(harness.fly())
        harness.state.announced()
        harness.land(flight)
        #expect(harness.fly() != nil)
    }

    @Test func withoutAnnouncementsItLooksNowAndThen() throws {
        let harness = StateHarness()
        harness.land(try #require(harness.fly()))
        let due = try #require(harness.state.nextDue())
        #expect((.seconds(4) ... .seconds(6)).contains(due - harness.now))
        harness.now = due
        #expect(harness.fly()?.isClaim == true)
    }

    @Test func onlyPlentyIsClaimedFromTwoSides() throws {
        let harness = StateHarness(handlers: [StateHarness.noop])
        let first = try #require(harness.fly())
        #expect(harness.fly() == nil)
        harness.land(first, bringing: harness.work(10, handler: "noop"))
        #expect(harness.fly() != nil)
        #expect(harness.fly() != nil)
        #expect(harness.fly() == nil)
    }

    @Test func anIdleAgentReportsAtOnceAndTakesWorkAlong() throws {
        let harness = StateHarness(concurrency: 2)
        let running = harness.claim(2)
        _ = harness.exhaust()
        harness.finish(running[0], .output("1"))
        let flight = try #require(harness.fly())
        #expect(
            flight.reports == [StepReport(handOut: running[0].handOut, outcome: .completed, output: "1", elapsed: 1)]
        )
        #expect(flight.capacity?.maxSteps == 1)
    }

    @Test func aResultWaitsForOthersThatEndSoon() throws {
        let harness = StateHarness(concurrency: 4)
        let running = harness.claim(4)
        _ = harness.exhaust()
        for step in running.prefix(3) { harness.finish(step, elapsed: 0.002) }
        #expect(harness.fly() == nil)
        #expect(harness.state.nextDue() == harness.now + .milliseconds(2))
        harness.advance(by: .milliseconds(2))
        #expect(harness.fly()?.reports.map(\.handOut) == running.prefix(3).map(\.handOut))
    }

    @Test func theLastResultDoesNotWait() throws {
        let harness = StateHarness(concurrency: 4)
        let running = harness.claim(2)
        _ = harness.exhaust()
        harness.finish(running[0], elapsed: 0.002)
        #expect(harness.fly() == nil)
        harness.finish(running[1], elapsed: 0.002)
        #expect(harness.fly()?.reports.count == 2)
    }

    @Test func aResultDoesNotWaitForStepsThatTakeLong() throws {
        let harness = StateHarness(concurrency: 4, flights: 2)
        let running = harness.claim(4)
        harness.finish(running[0], elapsed: 10)
        #expect(harness.fly()?.reports.count == 1)
        harness.finish(running[1], elapsed: 10)
        #expect(harness.fly()?.reports.count == 1)
    }

    @Test func whatBeganTogetherIsReportedTogether() throws {
        let harness = StateHarness(concurrency: 4)
        // Long beside the two milliseconds that a result may wait, but all of one length.
        for _ in 0..<40 {
            let running = harness.claim(4)
            harness.advance(by: .milliseconds(20))
            for step in running { harness.finish(step, elapsed: 0.020) }
            _ = harness.exhaust()
            harness.state.announced()
        }
        let running = harness.claim(4)
        _ = harness.exhaust()
        harness.advance(by: .milliseconds(20))
        harness.finish(running[0], elapsed: 0.020)
        #expect(harness.fly() == nil)
        for step in running.dropFirst() { harness.finish(step, elapsed: 0.020) }
        #expect(harness.fly()?.reports.count == 4)
    }

    @Test func whatFollowsFromResultsIsNoReasonToLookForMore() throws {
        let harness = StateHarness(concurrency: 2, handlers: [HandlerSlot(name: "shell", limit: 2)])
        var running = harness.claim(2)
        for round in 0..<5 {
            for step in running { harness.finish(step, elapsed: 0.02) }
            let flight = try #require(harness.fly())
            // The claim was filled, so that the next call looks whether there is more.
            #expect(flight.capacity?.maxSteps == (round == 0 ? 3 : 2))
            harness.land(flight, bringing: harness.work(2))
            running = harness.startable()
            #expect(harness.fly() == nil)
        }
    }

    @Test func aFullBatchDoesNotWait() throws {
        let harness = StateHarness(batchSize: 3, handlers: [StateHarness.noop])
        let first = try #require(harness.fly())
        let immediate = harness.land(first, bringing: harness.work(3, handler: "noop"))
        harness.state.executed(immediate.map { StepReport(handOut: $0.handOut, outcome: .completed) }, at: harness.now)
        #expect(harness.fly()?.reports.count == 3)
    }

    @Test func resultsAreBoundedInBytes() throws {
        let harness = StateHarness()
        let running = harness.claim(3)
        _ = harness.exhaust()
        let large = String(repeating: "1", count: 5 << 20)
        for step in running { harness.finish(step, .output(large)) }
        #expect(harness.fly()?.reports.count == 1)
    }

    @Test func anIdleAgentTakesWhateverThereIs() throws {
        let slots = ["http", "shell", "sleep"].map { HandlerSlot(name: $0, limit: 6) }
        let harness = StateHarness(concurrency: 6, handlers: slots)
        let first = try #require(harness.fly())
        #expect(first.capacity == Capacity(maxSteps: 6, perHandler: ["http": 6, "shell": 6, "sleep": 6]))
        harness.land(first, bringing: harness.work(2, handler: "shell"))
        harness.state.announced()
        let second = try #require(harness.fly())
        #expect(second.capacity?.perHandler?["shell"] == 4)
    }

    @Test func slotsGoToHandlersWithWorkAndOneStepToALookAtAnother() throws {
        let slots = ["http", "shell", "sleep"].map { HandlerSlot(name: $0, limit: 6) }
        let harness = StateHarness(concurrency: 6, handlers: slots)
        let running = harness.claim(6, handler: "shell")
        #expect(running.count == 6)
        harness.state.announced()
        // Nothing is free, so that there is nothing to look for.
        #expect(harness.fly() == nil)
        harness.finish(running[0], elapsed: 10)
        let flight = try #require(harness.fly())
        #expect(flight.capacity?.perHandler?["shell"] == 1)
        #expect(flight.capacity?.maxSteps == 2)
    }

    @Test func immediateHandlersTakeABatchBesideTheOthers() throws {
        let harness = StateHarness(concurrency: 2, handlers: [StateHarness.noop, HandlerSlot(name: "shell", limit: 2)])
        let first = try #require(harness.fly())
        #expect(first.capacity == Capacity(maxSteps: 2, perHandler: ["noop": 2, "shell": 2]))
        let immediate = harness.land(first, bringing: harness.work(2, handler: "noop"))
        harness.state.executed(immediate.map { StepReport(handOut: $0.handOut, outcome: .completed) }, at: harness.now)
        #expect(harness.fly()?.capacity == Capacity(maxSteps: 10, perHandler: ["noop": 10, "shell": 2]))
    }

    @Test func longStepsAreNotClaimedBeforeTheyCanStart() throws {
        let harness = StateHarness(concurrency: 1)
        harness.finish(try #require(harness.claim(1).first), elapsed: 1)
        let flight = try #require(harness.fly())
        #expect(flight.capacity?.maxSteps == 1)
    }

    @Test func shortStepsAreHeldReady() throws {
        let harness = StateHarness(concurrency: 1, batchSize: 200)
        harness.finish(try #require(harness.claim(1).first), elapsed: 0.000_2)
        let flight = try #require(harness.fly())
        #expect(try #require(flight.capacity).maxSteps > 1)
    }

    @Test func workAheadGrowsWhileItIsThereAndEndsWhenItIsNot() throws {
        let harness = StateHarness(concurrency: 1, batchSize: 200)
        var asked: [Int] = []
        for _ in 0..<4 {
            let flight = try #require(harness.fly())
            asked.append(try #require(flight.capacity).maxSteps)
            harness.land(flight, bringing: harness.work(asked.last!))
            while let step = harness.startable().first { harness.finish(step, elapsed: 0.000_2) }
        }
        #expect(asked == [1, 2, 3, 5])
        harness.land(try #require(harness.fly()))
        harness.state.announced()
        #expect(harness.fly()?.capacity?.maxSteps == 1)
    }

    @Test func whatWaitsTooLongForASlotIsGivenBack() throws {
        let harness = StateHarness(concurrency: 1)
        let flight = try #require(harness.fly())
        harness.land(flight, bringing: harness.work(3))
        let running = harness.startable()
        #expect(running.count == 1)
        _ = harness.exhaust()
        harness.advance(by: harness.patience - .milliseconds(1))
        #expect(harness.exhaust().isEmpty)
        #expect(try #require(harness.state.nextDue()) <= harness.now + .milliseconds(1))
        harness.advance(by: .milliseconds(1))
        #expect(harness.exhaust().map(\.outcome) == [.released, .released])
        #expect(harness.state.queued == 0)
        #expect(harness.state.running == 1)
    }

    // MARK: What goes wrong

    @Test func whatWasRolledBackIsReportedAgain() throws {
        let harness = StateHarness()
        let running = harness.claim(1)
        _ = harness.exhaust()
        harness.finish(running[0])
        let flight = try #require(harness.fly())
        harness.state.failed(flight, .rolledBack, at: harness.now)
        #expect(harness.fly() == nil)
        harness.now = try #require(harness.state.nextDue())
        #expect(harness.fly()?.reports == flight.reports)
    }

    @Test func aLostAnswerIsReconciledBeforeTheNextFlight() throws {
        let harness = StateHarness()
        let running = harness.claim(1)
        _ = harness.exhaust()
        harness.finish(running[0])
        let flight = try #require(harness.fly())
        harness.state.failed(flight, .connectionLost, at: harness.now)
        #expect(!harness.state.shouldReconcile(at: harness.now))
        harness.now = try #require(harness.state.nextDue())
        #expect(harness.fly() == nil)
        #expect(harness.state.shouldReconcile(at: harness.now))
        #expect(harness.state.known == [running[0].handOut])
        harness.state.reconciled()
        #expect(harness.fly()?.reports == flight.reports)
    }

    /// The first time the database may not have known yet what it has handed out.
    @Test(arguments: [FlightFailure.connectionLost, .refused])
    func aLostAnswerIsReconciledAgainLater(failure: FlightFailure) throws {
        let harness = StateHarness()
        harness.state.failed(try #require(harness.fly()), failure, at: harness.now)
        harness.now = try #require(harness.state.nextDue())
        #expect(harness.state.shouldReconcile(at: harness.now))
        harness.state.reconciled()
        harness.land(try #require(harness.fly()), bringing: [])
        while !harness.state.shouldReconcile(at: harness.now) {
            harness.now = try #require(harness.state.nextDue())
            if let flight = harness.fly() { harness.land(flight, bringing: []) }
        }
        harness.state.reconciled()
        #expect(harness.state.doubtsAgainAt == nil)
    }

    @Test func whatIsBeingExecutedIsNotGivenBackByAReconciliation() throws {
        let harness = StateHarness(handlers: [StateHarness.noop])
        harness.land(try #require(harness.fly()), bringing: [])
        harness.state.announced()
        let lands = try #require(harness.fly())
        let immediate = harness.land(lands, bringing: harness.work(10, handler: "noop"))
        let lost = try #require(harness.fly())
        harness.state.failed(lost, .connectionLost, at: harness.now)
        harness.now = try #require(harness.state.nextDue())
        #expect(!harness.state.shouldReconcile(at: harness.now))
        harness.state.executed(immediate.map { StepReport(handOut: $0.handOut, outcome: .completed) }, at: harness.now)
        #expect(harness.state.shouldReconcile(at: harness.now))
        #expect(Set(harness.state.known) == Set(immediate.map(\.handOut)))
    }

    @Test func aRepeatedReportMayBeStale() throws {
        let harness = StateHarness()
        harness.finish(try #require(harness.claim(1).first))
        let flight = try #require(harness.fly())
        harness.land(flight, answer: .init(answer: .stale))
        #expect(harness.exhaust().isEmpty)
        #expect(harness.state.isDrained)
    }

    @Test func whatIsRejectedFailsForGood() throws {
        let harness = StateHarness()
        let step = try #require(harness.claim(1).first)
        harness.finish(step, .output("not json"))
        harness.land(try #require(harness.fly()), answer: .init(answer: .rejected, code: "MR045", message: "no JSON"))
        let second = try #require(harness.fly())
        #expect(second.reports.first?.outcome == .fatal)
        #expect(second.reports.first?.error == "The report was rejected: MR045: no JSON")
        harness.land(second, answer: .init(answer: .rejected, code: "MR045", message: "again"))
        #expect(harness.exhaust().isEmpty)
    }
}
