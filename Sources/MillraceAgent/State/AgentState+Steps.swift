import HeapModule
import Millrace

/// Steps: from the answer of a flight over execution to a result.
extension AgentState {
    /// What a flight has brought, as it was taken in.
    struct Arrival {
        /// The steps of immediate handlers, to be executed at once.
        var immediate: [Work] = []
        /// Steps by slot; a batch is one.
        var counts: [Int]
        /// All that was brought; a batch is one.
        var calls = 0
        var bytes = 0
    }

    mutating func accept(_ work: [Work], at now: Instant) -> Arrival {
        var arrival = Arrival(counts: slots.map { _ in 0 })
        var lastName = ""
        var lastSlot: Int?
        var batches: [Int64: Batch] = [:]
        for step in work {
            arrival.bytes += step.byteCount
            if let batch = step.batch.flatMap({ batches[$0] }) {
                join(batch, step)
                continue
            }
            arrival.calls += 1
            let name = step.handler
            if lastSlot == nil || name != lastName { (lastName, lastSlot) = (name, slotByName[name]) }
            guard let slot = lastSlot else {
                let error = "This agent has no handler \(name), but was given a step of it."
                add(StepReport(handOut: step.handOut, outcome: .fatal, error: error), at: now)
                continue
            }
            arrival.counts[slot] += 1
            if isStopping {
                add(StepReport(handOut: step.handOut, outcome: .released), at: now)
            } else if slots[slot].isImmediate {
                arrival.immediate.append(step)
                immediate += 1
            } else {
                held[step.handOut] = Held(slot: slot, isRunning: false, timeout: step.timeout)
                slots[slot].queue.append(HandlerSlot.Queued(work: [step], since: now))
                slots[slot].queued += 1
                if let batch = step.batch, slots[slot].takesBatches {
                    held[step.handOut]?.call = step.handOut
                    calls[step.handOut] = [step.handOut]
                    batches[batch] = Batch(slot: slot, place: slots[slot].queue.count - 1, call: step.handOut)
                }
            }
        }
        return arrival
    }

    /// A batch of which an answer has brought a step.
    private struct Batch {
        let slot: Int
        /// Where it stands in the slot's queue.
        let place: Int
        let call: HandOut
    }

    private mutating func join(_ batch: Batch, _ step: Work) {
        held[step.handOut] = Held(slot: batch.slot, call: batch.call, isRunning: false, timeout: step.timeout)
        calls[batch.call]?.insert(step.handOut)
        slots[batch.slot].queue[batch.place].work.append(step)
    }

    /// The results of immediate handlers, one for each step that a flight has brought.
    package mutating func executed(_ reports: [StepReport], at now: Instant) {
        immediate -= reports.count
        guard !reports.isEmpty, agentID != nil else { return }
        if results.isEmpty { oldestResultAt = now }
        results.append(contentsOf: reports)
    }

    /// Takes from the queues what may begin now; the steps of a batch stand together. Timeouts count from `now`.
    package mutating func startable(at now: Instant) -> [Work] {
        var starting: [Work] = []
        for index in slots.indices {
            while running < limits.concurrency, slots[index].running < slots[index].limit,
                let queued = slots[index].queue.popFirst()
            {
                // Steps that were taken away are still in the queue, but no longer held.
                let steps = queued.work.filter { held[$0.handOut]?.isRunning == false }
                guard !steps.isEmpty else { continue }
                nameCall(of: steps)
                for step in steps { begin(step.handOut, at: now) }
                slots[index].queued -= 1
                slots[index].begin(at: now)
                running += 1
                tuner.waited(now - queued.since)
                starting += steps
            }
            if slots[index].isDry, running < limits.concurrency { tuner.ranDry() }
        }
        return starting
    }

    /// A call goes by the first of the steps that begin: by it the handler is stopped. An earlier one was taken away.
    private mutating func nameCall(of steps: [Work]) {
        guard let first = steps.first?.handOut, let call = held[first]?.call, call != first else { return }
        calls[first] = calls.removeValue(forKey: call)
        for step in steps { held[step.handOut]?.call = first }
    }

    private mutating func begin(_ handOut: HandOut, at now: Instant) {
        guard var step = held[handOut] else { return }
        step.isRunning = true
        step.begunAt = now
        step.deadline = step.timeout.map { now + .seconds($0) }
        held[handOut] = step
        if let deadline = step.deadline { watch(Deadline(at: deadline, handOut: handOut)) }
    }

    private mutating func watch(_ deadline: Deadline) {
        deadlines.insert(deadline)
        // Steps that have ended leave their deadlines behind; most end long before.
        guard deadlines.count > 1024, deadlines.count > 4 * held.count else { return }
        deadlines = Heap(
            held.flatMap { handOut, step in
                [step.deadline, step.end].compactMap { $0.map { Deadline(at: $0, handOut: handOut) } }
            }
        )
    }

    /// A step that has just begun does nothing but wait: it ends by itself when its time has come.
    package mutating func waits(_ handOut: HandOut, for duration: Duration) {
        guard let begunAt = held[handOut]?.begunAt else { return }
        end(handOut, at: begunAt + duration)
    }

    private mutating func end(_ handOut: HandOut, at moment: Instant) {
        held[handOut]?.end = moment
        watch(Deadline(at: moment, handOut: handOut))
    }

    /// A handler has ended, in time; its result is still to come.
    package mutating func handlerEnded(_ handOut: HandOut) {
        held[handOut]?.deadline = nil
    }

    /// A handler has ended.
    package mutating func finished(_ handOut: HandOut, _ result: StepResult, elapsed: Double, at now: Instant) {
        guard let step = held.removeValue(forKey: handOut) else { return }
        if isLast(handOut, of: step.call) {
            slots[step.slot].end(begunAt: step.begunAt, elapsed: elapsed, at: now)
            running -= 1
        }
        if case .settled = result {
            // What it has made ready was handed to nobody.
            announced()
            return
        }
        switch step.stop {
        case .revoked:
            return
        case .timedOut:
            let seconds = step.timeout ?? elapsed
            add(
                StepReport(
                    handOut: handOut,
                    outcome: .timedOut,
                    error: "The handler did not end within \(seconds) s.",
                    elapsed: elapsed
                ),
                at: now
            )
        case .stopping, nil:
            add(report(handOut, result, isStopped: step.stop != nil, elapsed: elapsed), at: now)
        }
    }

    /// Takes a step that is held no more off its call.
    ///
    /// - Returns: whether nothing of the call is left; so it is with each step by itself.
    private mutating func isLast(_ handOut: HandOut, of call: HandOut?) -> Bool {
        guard let call, var others = calls[call] else { return true }
        others.remove(handOut)
        calls[call] = others.isEmpty ? nil : others
        return others.isEmpty
    }

    private func report(_ handOut: HandOut, _ result: StepResult, isStopped: Bool, elapsed: Double) -> StepReport {
        switch result {
        case .output(let output):
            return StepReport(handOut: handOut, outcome: .completed, output: output, elapsed: elapsed)
        case .failed(let error) where !isStopped:
            return StepReport(
                handOut: handOut,
                outcome: error.isRetriable ? .failed : .fatal,
                error: error.message,
                errorClass: error.errorClass,
                elapsed: elapsed
            )
        case .failed, .givenBack, .settled:
            return StepReport(handOut: handOut, outcome: .released)
        }
    }

    /// Steps whose timeouts have passed are stopped; those that only waited, and whose time has come, have ended.
    ///
    /// - Returns: the running steps to stop.
    package mutating func overdue(at now: Instant) -> [HandOut] {
        var stopped: [HandOut] = []
        while let deadline = deadlines.min, deadline.at <= now {
            deadlines.removeMin()
            guard let step = held[deadline.handOut] else { continue }
            if step.end == deadline.at {
                let elapsed = step.begunAt.map { (now - $0).inSeconds } ?? 0
                finished(deadline.handOut, step.stop == nil ? .output(nil) : .givenBack, elapsed: elapsed, at: now)
            } else if step.deadline == deadline.at {
                stopped += stop([deadline.handOut], because: .timedOut)
            }
        }
        return stopped
    }

    /// The database has taken steps away.
    ///
    /// - Returns: the running steps to stop; a batch, by its first step, where none of its steps is wanted any more.
    package mutating func revoked(_ handOuts: [HandOut]) -> [HandOut] {
        stop(handOuts, because: .revoked)
    }

    mutating func stop(_ handOuts: [HandOut], because reason: StopReason) -> [HandOut] {
        var stopped: [HandOut] = []
        for handOut in handOuts {
            guard var step = held[handOut] else { continue }
            if step.isRunning {
                // What was taken away stays away, whatever else stops it.
                if step.stop != .revoked { step.stop = reason }
                held[handOut] = step
                if let call = step.call {
                    if calls[call]?.allSatisfy({ held[$0]?.stop != nil }) == true { stopped.append(call) }
                } else if step.end == nil {
                    stopped.append(handOut)
                } else {
                    // Nobody else ends it; its time has come as soon as somebody looks.
                    end(handOut, at: step.begunAt ?? nextLookAt)
                }
            } else {
                forget(handOut, step)
            }
        }
        return stopped
    }

    mutating func forget(_ handOut: HandOut, _ step: Held) {
        held.removeValue(forKey: handOut)
        if isLast(handOut, of: step.call) { slots[step.slot].queued -= 1 }
    }

    mutating func add(_ report: StepReport, at now: Instant) {
        if results.isEmpty { oldestResultAt = now }
        results.append(report)
    }
}
