import Millrace

/// Flights: when one sets out, with what, and what its answer means.
extension AgentState {
    /// The next call to make now, if any.
    package mutating func nextFlight(at now: Instant) -> Flight? {
        if let again = doubtsAgainAt, now >= again {
            doubtsAgainAt = nil
            mayHoldUnknown = true
        }
        guard let agentID, flightsOut < tuner.tuning.flights, !mayHoldUnknown else { return nil }
        if let pausedUntil {
            guard now >= pausedUntil else { return nil }
            self.pausedUntil = nil
        }
        if !isStopping, now >= nextLookAt {
            announced()
            scheduleLook(after: now)
        }
        giveBackOverdue(at: now)
        let (asked, capacity) = isStopping ? (slots.map { _ in 0 }, nil) : asks()
        // Results that wait for others are soon a better reason for a call than a look is now.
        guard shouldReport(at: now) || (results.isEmpty && capacity != nil && shouldClaim(asked)) else { return nil }
        for index in slots.indices { slots[index].asked += asked[index] }
        flightsOut += 1
        if capacity != nil { claimsOut += 1 }
        return Flight(
            agentID: agentID,
            reports: takeResults(at: now),
            capacity: capacity,
            asked: asked,
            announcements: slots.map(\.announcements),
            setOutAt: now
        )
    }

    /// By size, when the first has waited long enough for others, and at once where no other is to be expected so soon.
    private func shouldReport(at now: Instant) -> Bool {
        guard let oldestResultAt else { return false }
        let delay = tuner.tuning.flushDelay
        return results.count >= tuner.tuning.batchSize || isStopping || now >= oldestResultAt + delay
            || slots.reduce(0) { $0 + $1.endsExpected(within: delay, at: now) } < 0.5
    }

    /// What was claimed for slots that have not become free since: another agent may have one for it.
    private mutating func giveBackOverdue(at now: Instant) {
        for index in slots.indices {
            while let first = slots[index].queue.first, now >= first.since + limits.patience {
                slots[index].queue.removeFirst()
                for work in first.work {
                    guard let step = held[work.handOut], !step.isRunning else { continue }
                    forget(work.handOut, step)
                    add(StepReport(handOut: work.handOut, outcome: .released), at: now)
                }
            }
        }
    }

    /// One look at a time, more only where the last one found plenty.
    private func shouldClaim(_ asked: [Int]) -> Bool {
        // What is asked for beyond the free slots is no reason for a call, unless it is known to be there.
        let hasRoom =
            slots.reduce(limits.concurrency) { $0 - ($1.isImmediate ? 0 : $1.running + $1.queued + $1.asked) } > 0
        return slots.indices.contains { index in
            switch slots[index].supply {
            case .empty: return false
            case .possible: return asked[index] > 0 && claimsOut == 0 && (slots[index].isImmediate || hasRoom)
            case .plentiful: return asked[index] > 0
            }
        }
    }

    /// Free slots, by handler and in all.
    ///
    /// Those of the agent go to handlers that have work here, which is where dependents of results are handed over; one
    /// step beyond may come for each look at another handler, so that a busy one keeps none out. An agent that has
    /// nothing to do asks for whatever there is. Immediate handlers can always take a batch.
    private mutating func asks() -> (asked: [Int], capacity: Capacity?) {
        let batchSize = tuner.tuning.batchSize
        let prefetches = slots.map { $0.prefetch(lookahead: tuner.tuning.lookahead) }
        var room = limits.concurrency + (prefetches.max() ?? 0) - running
        for slot in slots where !slot.isImmediate { room -= slot.queued + slot.asked }
        let free = slots.indices.map { slots[$0].isImmediate ? batchSize : max(0, slots[$0].free + prefetches[$0]) }
        rotation &+= 1
        let order = slots.indices.map { ($0 + rotation) % slots.count }.filter { !slots[$0].isImmediate }
        let active = order.filter { slots[$0].isActive }
        let others = order.filter { !slots[$0].isActive && slots[$0].supply != .empty }

        if isIdle, room > 0 {
            let most = min(room, batchSize)
            return (free.map { min($0, most) }, capacity(free.map { min($0, most) }, maxSteps: most))
        }
        var asked = slots.map { $0.isImmediate ? batchSize : 0 }
        share(&room, among: active, free: free, into: &asked)
        if room <= 0, let other = others.first(where: { free[$0] > 0 && slots[$0].asked == 0 }) {
            asked[other] = 1
        }
        share(&room, among: others, free: free, into: &asked)
        let quiet = order.filter { !slots[$0].isActive && slots[$0].supply == .empty }
        share(&room, among: quiet, free: free, into: &asked)
        return (asked, capacity(asked, maxSteps: min(batchSize, asked.reduce(0, +))))
    }

    /// Whether nothing tells which handler will have work next.
    private var isIdle: Bool {
        results.isEmpty && slots.contains { !$0.isImmediate }
            && !slots.contains { $0.isImmediate ? $0.supply == .plentiful : $0.isActive }
    }

    private func capacity(_ asked: [Int], maxSteps: Int) -> Capacity? {
        guard maxSteps > 0 else { return nil }
        var perHandler: [String: Int] = [:]
        for (index, ask) in asked.enumerated() where ask > 0 { perHandler[slots[index].name] = min(ask, maxSteps) }
        return Capacity(maxSteps: maxSteps, perHandler: perHandler, maxBytes: limits.maxBytes)
    }

    /// Gives each slot the same, up to what it can use, until nothing is left.
    private func share(_ room: inout Int, among indices: [Int], free: [Int], into asked: inout [Int]) {
        var open = indices.filter { free[$0] > 0 }
        while room > 0, !open.isEmpty {
            let part = max(1, room / open.count)
            for index in open where room > 0 {
                let given = max(0, min(part, free[index] - asked[index], room))
                asked[index] += given
                room -= given
            }
            open.removeAll { asked[$0] >= free[$0] }
        }
    }

    /// The oldest results, bounded in number and bytes.
    private mutating func takeResults(at now: Instant) -> [StepReport] {
        for index in slots.indices { slots[index].finished = 0 }
        var count = 0
        var bytes = 0
        while count < results.count, count < tuner.tuning.batchSize {
            bytes += results[count].output?.utf8.count ?? 0
            if count > 0, bytes > limits.maxBytes { break }
            count += 1
        }
        if count == results.count {
            defer {
                results = []
                oldestResultAt = nil
            }
            return results
        }
        let taken = Array(results[..<count])
        results.removeFirst(count)
        oldestResultAt = now
        return taken
    }

    /// The answer has come.
    ///
    /// - Returns: the steps of immediate handlers, to be executed at once.
    package mutating func landed(_ flight: Flight, _ answer: Reported, at now: Instant) -> [Work] {
        settle(flight)
        failures = 0
        guard flight.agentID == agentID else { return [] }
        for (report, answer) in zip(flight.reports, answer.answers) where answer.answer == .rejected {
            reject(report, answer, at: now)
        }
        let arrival = accept(answer.started, at: now)
        var isSaturated = false
        if let capacity = flight.capacity {
            // Fewer than asked for says nothing when the call's own bounds ended it.
            let isFull = arrival.calls >= capacity.maxSteps || arrival.bytes * 2 >= capacity.maxBytes
            learnSupply(flight, arrival, isFull: isFull)
            isSaturated = isFull
        }
        tuner.landed(
            Tuner.Landing(
                roundTrip: now - flight.setOutAt,
                reported: flight.reports.count,
                brought: arrival.calls,
                isClaim: flight.capacity != nil,
                isSaturated: isSaturated,
                stillOut: flightsOut
            ),
            at: now
        )
        return arrival.immediate
    }

    /// What was refused is reported again as failed for good; a refusal of that is final.
    private mutating func reject(_ report: StepReport, _ answer: ReportAnswer, at now: Instant) {
        guard report.outcome != .fatal else { return }
        let reason = [answer.code, answer.message].compactMap { $0 }.joined(separator: ": ")
        add(
            StepReport(
                handOut: report.handOut,
                outcome: .fatal,
                error: "The report was rejected: \(reason)",
                errorClass: "rejected",
                elapsed: report.elapsed
            ),
            at: now
        )
    }

    private mutating func learnSupply(_ flight: Flight, _ arrival: Arrival, isFull: Bool) {
        for index in slots.indices {
            let asked = flight.asked[index]
            let came = arrival.counts[index]
            // As many as were reported may just be what followed from them, which no other agent was to have.
            let isSurplus = came > flight.reports.count
            if asked > 0 {
                slots[index].learn(
                    isFilled: isFull || came >= asked,
                    isSurplus: isSurplus,
                    atMost: tuner.tuning.batchSize
                )
            }
            if asked == 0 {
                // What was reported may have made steps ready that were not asked for.
                if !flight.reports.isEmpty { slots[index].announce() }
            } else if isFull || came >= asked {
                slots[index].announce()
                if came > 0, slots[index].isImmediate || isSurplus { slots[index].supply = .plentiful }
            } else if slots[index].announcements == flight.announcements[index] {
                slots[index].supply = .empty
            } else {
                slots[index].supply = .possible
            }
        }
    }

    /// No answer has come. The results wait for another flight.
    package mutating func failed(_ flight: Flight, _ failure: FlightFailure, at now: Instant) {
        settle(flight)
        guard flight.agentID == agentID else { return }
        if !flight.reports.isEmpty {
            results.insert(contentsOf: flight.reports, at: 0)
            oldestResultAt = now
        }
        for index in slots.indices where flight.asked[index] > 0 { slots[index].announce() }
        switch failure {
        case .rolledBack:
            pausedUntil = now + .milliseconds(Int.random(in: 1...10))
        case .connectionLost, .refused:
            // An answer that could not be read is as good as lost.
            if flight.capacity != nil {
                mayHoldUnknown = true
                doubtsAgainAt = now + Self.secondDoubt
            }
            pause(from: now)
        }
    }

    private mutating func pause(from now: Instant) {
        pausedUntil = now + limits.reconnect.delay(attempt: failures)
        failures += 1
    }

    private mutating func settle(_ flight: Flight) {
        flightsOut -= 1
        if flight.capacity != nil { claimsOut -= 1 }
        for index in slots.indices { slots[index].asked -= flight.asked[index] }
    }

    /// The database has been told what is held here; it has taken back the rest.
    package mutating func reconciled() {
        mayHoldUnknown = false
    }

    /// The database could not be told.
    package mutating func reconciliationFailed(at now: Instant) {
        pause(from: now)
    }

    /// Whether to tell the database now what is held here: after a lost answer, when no flight is under way or has just
    /// brought steps that are being executed.
    package func shouldReconcile(at now: Instant) -> Bool {
        guard mayHoldUnknown, agentID != nil, flightsOut == 0, immediate == 0 else { return false }
        return pausedUntil.map { now >= $0 } ?? true
    }
}
