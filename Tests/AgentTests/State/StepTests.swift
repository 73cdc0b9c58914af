import Millrace
import MillraceAgent
import Testing

@Suite struct StepTests {
    @Test func noMoreStepsRunThanAllowed() {
        let harness = StateHarness(
            concurrency: 3,
            handlers: [HandlerSlot(name: "shell", limit: 2), HandlerSlot(name: "sleep", limit: 2)]
        )
        guard let flight = harness.fly() else { return }
        harness.land(flight, bringing: harness.work(4) + harness.work(4, handler: "sleep"))
        #expect(harness.startable().map(\.handler) == ["shell", "shell", "sleep"])
        #expect(harness.state.queued == 5)
    }

    @Test func theNextStepStartsWhereOneHasEnded() throws {
        let harness = StateHarness(concurrency: 1)
        let flight = try #require(harness.fly())
        let work = harness.work(2)
        harness.land(flight, bringing: work)
        #expect(harness.startable().map(\.handOut) == [work[0].handOut])
        harness.finish(work[0])
        #expect(harness.startable().map(\.handOut) == [work[1].handOut])
    }

    @Test func aTimeoutCountsFromTheStart() throws {
        let harness = StateHarness(concurrency: 1)
        let flight = try #require(harness.fly())
        let work = harness.work(2, timeout: 5)
        harness.land(flight, bringing: work)
        _ = harness.startable()
        harness.advance(by: .seconds(5))
        #expect(harness.overdue() == [work[0].handOut])
        harness.finish(work[0], .failed(.retriable("cancelled")))
        #expect(harness.startable().map(\.handOut) == [work[1].handOut])
        #expect(harness.overdue().isEmpty)
        #expect(harness.state.results.map(\.outcome) == [.timedOut])
    }

    @Test func whatWasTakenAwayIsNotReported() throws {
        let harness = StateHarness(concurrency: 1)
        let flight = try #require(harness.fly())
        let work = harness.work(2)
        harness.land(flight, bringing: work)
        _ = harness.startable()
        #expect(harness.revoked(work.map(\.handOut)) == [work[0].handOut])
        harness.finish(work[0], .output("1"))
        #expect(harness.startable().isEmpty)
        #expect(harness.state.isDrained)
    }

    @Test func whatTheHandlerSettledIsNotReportedAndItsDependentsAreLookedFor() throws {
        let harness = StateHarness()
        let running = harness.claim(1)
        _ = harness.exhaust()
        harness.finish(running[0], .settled)
        #expect(harness.state.results.isEmpty)
        #expect(harness.fly()?.isClaim == true)
    }

    // MARK: Waiting

    @Test func stepsThatOnlyWaitEndTogether() throws {
        let harness = StateHarness()
        let waiting = harness.claim(3)
        for step in waiting.dropLast() { harness.state.waits(step.handOut, for: .milliseconds(20)) }
        harness.state.waits(waiting[2].handOut, for: .milliseconds(30))
        #expect(harness.state.nextDue() == harness.now + .milliseconds(20))
        harness.advance(by: .milliseconds(19))
        #expect(harness.overdue().isEmpty)
        #expect(harness.state.results.isEmpty)
        harness.advance(by: .milliseconds(1))
        #expect(harness.overdue().isEmpty)
        #expect(Set(harness.state.results.map(\.handOut)) == Set(waiting.dropLast().map(\.handOut)))
        #expect(harness.state.results.map(\.outcome) == [.completed, .completed])
        #expect(harness.state.running == 1)
    }

    @Test func whatOnlyWaitsMayTakeTooLong() throws {
        let harness = StateHarness()
        let waiting = harness.claim(1, timeout: 5)
        harness.state.waits(waiting[0].handOut, for: .seconds(6))
        harness.advance(by: .seconds(6))
        #expect(harness.overdue().isEmpty)
        #expect(harness.state.results.map(\.outcome) == [.timedOut])
    }

    @Test func whatOnlyWaitsEndsAsSoonAsItIsStopped() throws {
        let harness = StateHarness()
        let waiting = harness.claim(2)
        for step in waiting { harness.state.waits(step.handOut, for: .seconds(60)) }
        #expect(harness.revoked([waiting[0].handOut]).isEmpty)
        harness.state.stopClaiming(at: harness.now)
        #expect(harness.stopRunning().isEmpty)
        #expect(harness.overdue().isEmpty)
        #expect(harness.exhaust() == [StepReport(handOut: waiting[1].handOut, outcome: .released)])
        #expect(harness.state.isDrained)
    }

    @Test func resultsBecomeOutcomes() throws {
        let harness = StateHarness()
        let running = harness.claim(3)
        harness.finish(running[0], .failed(.retriable("later")))
        harness.finish(running[1], .failed(.fatal("never")))
        harness.finish(running[2], .givenBack)
        #expect(harness.state.results.map(\.outcome) == [.failed, .fatal, .released])
        #expect(harness.state.results.map(\.error) == ["later", "never", nil])
    }

    @Test func aStepWithoutHandlerFails() throws {
        let harness = StateHarness()
        harness.land(try #require(harness.fly()), bringing: harness.work(1, handler: "unheard"))
        #expect(harness.exhaust().map(\.outcome) == [.fatal])
    }

    // MARK: The end

    @Test func stoppingGivesBackWhatHasNotBegun() throws {
        let harness = StateHarness(concurrency: 1)
        let flight = try #require(harness.fly())
        let work = harness.work(2)
        harness.land(flight, bringing: work)
        _ = harness.startable()
        harness.state.stopClaiming(at: harness.now)
        let last = try #require(harness.fly())
        #expect(last.capacity == nil)
        #expect(last.reports == [StepReport(handOut: work[1].handOut, outcome: .released)])
        harness.land(last)
        #expect(!harness.state.isDrained)
        harness.finish(work[0], .output("1"))
        #expect(harness.exhaust().map(\.outcome) == [.completed])
        #expect(harness.state.isDrained)
    }

    @Test func whatArrivesWhileStoppingIsGivenBack() throws {
        let harness = StateHarness()
        let flight = try #require(harness.fly())
        harness.state.stopClaiming(at: harness.now)
        harness.land(flight, bringing: harness.work(2))
        #expect(harness.exhaust().map(\.outcome) == [.released, .released])
    }

    @Test func afterTheGracePeriodRunningStepsAreGivenBack() throws {
        let harness = StateHarness()
        let running = harness.claim(2)
        harness.state.stopClaiming(at: harness.now)
        #expect(Set(harness.stopRunning()) == Set(running.map(\.handOut)))
        harness.finish(running[0], .failed(.retriable("cancelled")))
        // It was done before it noticed.
        harness.finish(running[1], .output("1"))
        #expect(harness.exhaust().map(\.outcome) == [.released, .completed])
    }

    @Test func whatAnImmediateHandlerExecutesIsWaitedFor() throws {
        let harness = StateHarness(handlers: [StateHarness.noop])
        let work = harness.work(2, handler: "noop")
        let immediate = harness.land(try #require(harness.fly()), bringing: work)
        harness.state.stopClaiming(at: harness.now)
        #expect(harness.exhaust().isEmpty)
        #expect(!harness.state.isDrained)
        harness.state.executed(immediate.map { StepReport(handOut: $0.handOut, outcome: .completed) }, at: harness.now)
        #expect(harness.exhaust().map(\.outcome) == [.completed, .completed])
        #expect(harness.state.isDrained)
    }

    @Test func aForgottenAgentDropsWhatItHeld() throws {
        let harness = StateHarness(concurrency: 1)
        let flight = try #require(harness.fly())
        let work = harness.work(2)
        harness.land(flight, bringing: work)
        _ = harness.startable()
        #expect(harness.registrationLost() == [work[0].handOut])
        #expect(harness.fly() == nil)
        harness.state.registered(as: 2, at: harness.now)
        harness.finish(work[0], .output("1"))
        #expect(harness.exhaust().isEmpty)
        #expect(harness.state.isDrained)
    }
}
