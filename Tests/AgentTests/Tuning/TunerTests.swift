import MillraceAgent
import Testing

/// A tuner beside a database that is made up: what a call takes is a function of what it carries and of how many are
/// under way.
private struct Model {
    var tuner: Tuner
    var now = ContinuousClock.now
    /// Seconds that a call costs by itself, and that each of its steps adds.
    var fixed: Double
    var perStep: Double
    /// Calls that the server can work on at once.
    var parallel = 2

    init(_ bounds: TuningBounds = TuningBounds(), fixed: Double, perStep: Double, parallel: Int = 2) {
        tuner = Tuner(bounds)
        (self.fixed, self.perStep, self.parallel) = (fixed, perStep, parallel)
    }

    /// Small calls, as an idle agent makes them.
    mutating func idle(calls: Int = 20) {
        for _ in 0..<calls { land(steps: 1, seconds: fixed + perStep, isSaturated: false) }
    }

    /// Full calls, several under way, for so many of them.
    mutating func work(calls: Int, noise: (Int) -> Double = { _ in 1 }) {
        for call in 0..<calls {
            let (size, flights) = (tuner.tuning.batchSize, tuner.tuning.flights)
            let alone = fixed + perStep * Double(size)
            // What the server cannot do at once waits for a turn.
            let queueing = max(1, Double(flights) / Double(parallel))
            let roundTrip = alone * queueing * noise(call)
            now += .seconds(roundTrip / Double(flights))
            land(steps: size, seconds: roundTrip, isSaturated: true, advances: false)
        }
    }

    mutating func land(steps: Int, seconds: Double, isSaturated: Bool, advances: Bool = true) {
        if advances { now += .seconds(seconds) }
        tuner.landed(
            Tuner.Landing(
                roundTrip: .seconds(seconds),
                reported: steps,
                brought: isSaturated ? steps : 0,
                isClaim: true,
                isSaturated: isSaturated,
                stillOut: tuner.tuning.flights - 1
            ),
            at: now
        )
    }

    /// Steps a second with a setting.
    func rate(_ size: Int, _ flights: Int) -> Double {
        Double(size * min(flights, parallel)) / (fixed + perStep * Double(size))
    }
}

@Suite struct TunerTests {
    @Test(arguments: [(0.001, 5e-6), (0.001, 30e-6), (0.005, 10e-6), (0.0003, 2e-6), (0.02, 20e-6)], [1, 2, 4])
    func itComesWithinATenthOfTheBest(cost: (fixed: Double, perStep: Double), parallel: Int) {
        var model = Model(fixed: cost.fixed, perStep: cost.perStep, parallel: parallel)
        model.idle()
        model.work(calls: 4000)
        let reached = model.rate(model.tuner.tuning.batchSize, model.tuner.tuning.flights)
        var best = 0.0
        for size in [50, 100, 200, 500, 1000, 2000, 5000] {
            // A call that takes too long is no choice.
            guard model.fixed + model.perStep * Double(size) <= 0.1 else { continue }
            for flights in 1...4 { best = max(best, model.rate(size, flights)) }
        }
        #expect(reached >= 0.9 * best, "\(model.tuner.tuning)")
    }

    @Test(arguments: UInt64(1)...10) func noiseDoesNotCarryItAway(seed: UInt64) {
        var generator = SplitMix(state: seed)
        var model = Model(fixed: 0.001, perStep: 10e-6, parallel: 2)
        model.idle()
        model.work(calls: 4000) { _ in Double.random(in: 0.7...1.3, using: &generator) }
        let reached = model.rate(model.tuner.tuning.batchSize, model.tuner.tuning.flights)
        #expect(reached >= 0.85 * model.rate(5000, 2), "\(model.tuner.tuning)")
    }

    @Test func singleSlowCallsDoNotCount() {
        var model = Model(fixed: 0.001, perStep: 30e-6)
        model.idle()
        model.work(calls: 400) { $0 % 7 == 0 ? 20 : 1 }
        #expect(model.tuner.tuning.batchSize >= 500)
    }

    @Test func nothingLeavesItsBounds() {
        let bounds = TuningBounds(batchSize: 100...300, flights: 1...2, connections: 2...6)
        var model = Model(bounds, fixed: 0.05, perStep: 1e-6, parallel: 16)
        model.idle()
        model.work(calls: 1000)
        for waits in stride(from: 5, through: 50, by: 5) { model.tuner.looked(atPool: waits) }
        #expect(model.tuner.tuning.batchSize == 300)
        #expect(model.tuner.tuning.flights == 2)
        #expect(model.tuner.tuning.connections == 6)
    }

    @Test func whatIsFixedStaysSo() {
        var model = Model(.fixed(batchSize: 200, flights: 2), fixed: 0.01, perStep: 1e-6, parallel: 4)
        let before = model.tuner.tuning
        model.idle()
        model.work(calls: 1000)
        #expect(model.tuner.tuning == before)
        #expect(model.tuner.takeDecisions().isEmpty)
    }

    @Test func anIdleAgentTriesNothing() {
        var model = Model(fixed: 0.001, perStep: 30e-6)
        model.idle(calls: 5000)
        #expect(model.tuner.tuning.batchSize == 500)
        #expect(model.tuner.tuning.flights == 2)
        #expect(model.tuner.takeDecisions().isEmpty)
    }

    @Test func callsDoNotGrowBeyondTheirLongestTime() {
        var model = Model(fixed: 0.02, perStep: 400e-6)
        model.idle()
        model.work(calls: 400)
        #expect(model.tuner.tuning.batchSize < 500)
    }

    @Test func decisionsSayWhatTheyRestOn() throws {
        var model = Model(fixed: 0.01, perStep: 1e-6)
        model.idle()
        model.work(calls: 8)
        let decision = try #require(model.tuner.takeDecisions().first)
        #expect(decision.knob == .batchSize)
        #expect(decision.from == 500)
        #expect(decision.to == 1000)
        #expect(decision.reason.contains("10.5 ms"))
        #expect(model.tuner.takeDecisions().isEmpty)
    }

    // MARK: The other knobs

    @Test func resultsWaitForHalfARoundTripAndNoLonger() {
        var model = Model(fixed: 0.002, perStep: 0)
        model.idle(calls: 100)
        #expect((.microseconds(900) ... .microseconds(1100)).contains(model.tuner.tuning.flushDelay))
    }

    @Test func workAheadFollowsTheRoundTripAndDryMoments() {
        var model = Model(fixed: 0.004, perStep: 0)
        model.idle(calls: 64)
        let before = model.tuner.tuning.lookahead
        #expect((.microseconds(3900) ... .microseconds(4100)).contains(before))
        for _ in 0..<3 {
            model.tuner.ranDry()
            model.idle(calls: 16)
        }
        #expect(model.tuner.tuning.lookahead > before * 2)
        for _ in 0..<20 {
            model.tuner.waited(.seconds(1))
            model.idle(calls: 16)
        }
        #expect((.microseconds(3900) ... .microseconds(4100)).contains(model.tuner.tuning.lookahead))
    }

    @Test func thePoolKeepsWhatCallersWaitedForUntilNobodyDoes() {
        var tuner = Tuner(TuningBounds(connections: 2...20))
        tuner.looked(atPool: 0)
        #expect(tuner.tuning.connections == 2)
        tuner.looked(atPool: 3)
        #expect(tuner.tuning.connections == 5)
        for _ in 0..<19 { tuner.looked(atPool: 3) }
        #expect(tuner.tuning.connections == 5)
        tuner.looked(atPool: 3)
        #expect(tuner.tuning.connections == 4)
    }
}
