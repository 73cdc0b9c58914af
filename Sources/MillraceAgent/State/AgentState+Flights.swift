import Millrace

/// Flights: when one sets out, with what, and what its answer means.
extension AgentState {
    /// The next call to make now, if any.
    package mutating func nextFlight(at now: Instant) -> Flight? {
        guard let agentID, flightsOut < limits.flights, !mayHoldUnknown else { return nil }
        if let pausedUntil {
            guard now >= pausedUntil else { return nil }
            self.pausedUntil = nil
        }
        if !isStopping, now >= nextLookAt {
            announced()
            scheduleLook(after: now)
        }
        let (asked, capacity) = isStopping ? (slots.map { _ in 0 }, nil) : asks()
        guard shouldReport(at: now) || (capacity != nil && shouldClaim(asked)) else { return nil }
        for index in slots.indices { slots[index].asked += asked[index] }
        flightsOut += 1
        if capacity != nil { claimsOut += 1 }
        return Flight(
            agentID: agentID,
            reports: takeResults(at: now),
            capacity: capacity,
            asked: asked,
            announcements: slots.map(\.announcements)
        )
    }

    /// By size, after a few milliseconds, and at once when there is nothing else to do.
    private func shouldReport(at now: Instant) -> Bool {
        guard let oldestResultAt else { return false }
        return results.count >= limits.batchSize || isStopping
            || (flightsOut == 0 && slots.allSatisfy { $0.queued == 0 })
            || now >= oldestResultAt + limits.flushDelay
    }

    /// One look at a time, more only where the last one found plenty.
    private func shouldClaim(_ asked: [Int]) -> Bool {
        slots.indices.contains { index in
            guard asked[index] > 0 else { return false }
            switch slots[index].supply {
            case .empty: return false
            case .possible: return claimsOut == 0
            case .plentiful: return true
            }
        }
    }

    /// Free slots, by handler and in all.
    ///
    /// Immediate handlers can always take a batch. The others share what is free of the agent's concurrency, first
    /// those that may have work waiting, so that no step waits here which another agent could run.
    private mutating func asks() -> (asked: [Int], capacity: Capacity?) {
        let prefetches = slots.map { $0.prefetch(lookahead: limits.lookahead, atMost: limits.batchSize) }
        var room = limits.concurrency + (prefetches.max() ?? 0) - running
        var free = slots.map { $0.isImmediate ? 0 : $0.limit - $0.running - $0.queued - $0.asked }
        for index in slots.indices where !slots[index].isImmediate {
            free[index] += prefetches[index]
            room -= slots[index].queued + slots[index].asked
        }
        var asked = slots.map { $0.isImmediate ? limits.batchSize : 0 }
        rotation &+= 1
        let order = slots.indices.map { ($0 + rotation) % slots.count }
        share(&room, among: order.filter { slots[$0].supply != .empty }, free: free, into: &asked)
        share(&room, among: order.filter { slots[$0].supply == .empty }, free: free, into: &asked)
        let maxSteps = min(limits.batchSize, asked.reduce(0, +))
        guard maxSteps > 0 else { return (asked, nil) }
        var perHandler: [String: Int] = [:]
        for (index, ask) in asked.enumerated() where ask > 0 { perHandler[slots[index].name] = min(ask, maxSteps) }
        return (asked, Capacity(maxSteps: maxSteps, perHandler: perHandler, maxBytes: limits.maxBytes))
    }

    /// Gives each slot the same, up to what it can use, until nothing is left.
    private func share(_ room: inout Int, among indices: [Int], free: [Int], into asked: inout [Int]) {
        var open = indices.filter { free[$0] > 0 }
        while room > 0, !open.isEmpty {
            let part = max(1, room / open.count)
            for index in open where room > 0 {
                let given = min(part, free[index] - asked[index], room)
                asked[index] += given
                room -= given
            }
            open.removeAll { asked[$0] >= free[$0] }
        }
    }

    /// The oldest results, bounded in number and bytes.
    private mutating func takeResults(at now: Instant) -> [StepReport] {
        var count = 0
        var bytes = 0
        while count < results.count, count < limits.batchSize {
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
        if let capacity = flight.capacity {
            // Fewer than asked for says nothing when the call's own bounds ended it.
            let isFull = answer.started.count >= capacity.maxSteps || arrival.bytes * 2 >= capacity.maxBytes
            learnSupply(flight, arrival, isFull: isFull)
        }
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
                elapsed: report.elapsed
            ),
            at: now
        )
    }

    private mutating func learnSupply(_ flight: Flight, _ arrival: Arrival, isFull: Bool) {
        for index in slots.indices {
            let asked = flight.asked[index]
            let came = arrival.counts[index]
            if asked == 0 {
                // What was reported may have made steps ready that were not asked for.
                if !flight.reports.isEmpty { slots[index].announce() }
            } else if isFull || came >= asked {
                slots[index].announce()
                slots[index].supply = came > 0 ? .plentiful : .possible
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
        case .connectionLost:
            if flight.capacity != nil { mayHoldUnknown = true }
            pause(from: now)
        case .refused:
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

    /// Whether to tell the database now what is held here: after a lost answer, when no flight is under way.
    package func shouldReconcile(at now: Instant) -> Bool {
        guard mayHoldUnknown, agentID != nil, flightsOut == 0 else { return false }
        return pausedUntil.map { now >= $0 } ?? true
    }
}
