import Millrace
import MillraceAgent
import Testing

/// Steps that are handed out together are one call.
@Suite struct BatchStateTests {
    private func harness(takesBatches: Bool = true, concurrency: Int = 2) -> StateHarness {
        StateHarness(
            concurrency: concurrency,
            handlers: [HandlerSlot(name: "mail", takesBatches: takesBatches, limit: 2)]
        )
    }

    /// Steps of two batches, mixed, as an answer may bring them.
    private func work(_ batches: [Int64?], timeout: Double? = nil) -> [Work] {
        batches.enumerated().map { index, batch in
            Work(
                handOut: HandOut(runID: Int64(index + 1), stepNo: 1, token: 1),
                handler: "mail",
                timeout: timeout,
                batch: batch
            )
        }
    }

    @Test func aBatchTakesOneSlotAndItsStepsStandTogether() throws {
        let harness = harness()
        harness.land(try #require(harness.fly()), bringing: work([7, 8, 7, 9, 8, 7]))
        #expect(harness.startable().map(\.batch) == [7, 7, 7, 8, 8])
        #expect(harness.state.running == 2)
        #expect(harness.state.queued == 1)
    }

    @Test func theSlotIsFreeWhenAllOfABatchHaveEnded() throws {
        let harness = harness(concurrency: 1)
        let work = work([7, 7, 8])
        harness.land(try #require(harness.fly()), bringing: work)
        _ = harness.startable()
        harness.finish(work[0])
        #expect(harness.startable().isEmpty)
        harness.finish(work[1], .failed(.fatal("no")))
        #expect(harness.startable().map(\.handOut) == [work[2].handOut])
        #expect(harness.state.results.map(\.outcome) == [.completed, .fatal])
        #expect(harness.state.running == 1)
    }

    @Test func aBatchIsStoppedWhenNoneOfItsStepsIsWanted() throws {
        let harness = harness()
        let work = work([7, 7, 7])
        harness.land(try #require(harness.fly()), bringing: work)
        _ = harness.startable()
        #expect(harness.revoked([work[2].handOut, work[0].handOut]).isEmpty)
        #expect(harness.revoked([work[1].handOut]) == [work[0].handOut])
        for step in work { harness.finish(step) }
        #expect(harness.state.results.isEmpty)
        #expect(harness.state.isDrained)
        #expect(harness.state.running == 0)
    }

    @Test func theStepsOfABatchTimeOutTogether() throws {
        let harness = harness()
        let work = work([7, 7], timeout: 5)
        harness.land(try #require(harness.fly()), bringing: work)
        _ = harness.startable()
        harness.advance(by: .seconds(5))
        #expect(harness.overdue() == [work[0].handOut])
        for step in work { harness.finish(step, .failed(.retriable("cancelled"))) }
        #expect(harness.state.results.map(\.outcome) == [.timedOut, .timedOut])
        #expect(harness.state.running == 0)
    }

    @Test func whatIsTakenAwayBeforeItBeginsIsLeftOut() throws {
        let harness = harness(concurrency: 1)
        let work = work([6, 7, 7, 8, 8])
        harness.land(try #require(harness.fly()), bringing: work)
        _ = harness.startable()
        #expect(harness.revoked([work[1].handOut, work[3].handOut, work[4].handOut]).isEmpty)
        #expect(harness.state.queued == 1)
        harness.finish(work[0])
        #expect(harness.startable().map(\.handOut) == [work[2].handOut])
        harness.finish(work[2])
        #expect(harness.startable().isEmpty)
        #expect(harness.state.queued == 0)
    }

    @Test func aBatchIsStoppedThoughItsFirstStepWasTakenAwayBeforeItBegan() throws {
        let harness = harness(concurrency: 1)
        let work = work([6, 7, 7, 7], timeout: 5)
        harness.land(try #require(harness.fly()), bringing: work)
        _ = harness.startable()
        #expect(harness.revoked([work[1].handOut]).isEmpty)
        harness.finish(work[0])
        // The loop stops a batch by the first step that began.
        #expect(harness.startable().map(\.handOut) == [work[2].handOut, work[3].handOut])
        harness.advance(by: .seconds(5))
        #expect(harness.overdue() == [work[2].handOut])
        for step in work[2...] { harness.finish(step, .failed(.retriable("cancelled"))) }
        #expect(harness.state.results.map(\.outcome) == [.completed, .timedOut, .timedOut])
        #expect(harness.state.running == 0)
    }

    @Test func aBatchThatWaitsTooLongIsGivenBack() throws {
        let harness = harness(concurrency: 1)
        let work = work([6, 7, 7])
        harness.land(try #require(harness.fly()), bringing: work)
        _ = harness.startable()
        harness.advance(by: harness.patience)
        #expect(harness.exhaust().map(\.outcome) == [.released, .released])
        #expect(harness.state.queued == 0)
    }

    @Test func aHandlerThatKnowsNoBatchesGetsStepsOneByOne() throws {
        let harness = harness(takesBatches: false)
        let work = work([7, 7, 7])
        harness.land(try #require(harness.fly()), bringing: work)
        #expect(harness.startable().count == 2)
        #expect(harness.state.running == 2)
        #expect(harness.state.queued == 1)
    }
}
