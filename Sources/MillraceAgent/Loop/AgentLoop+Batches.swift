import Millrace

/// Steps that are executed as one call.
extension AgentLoop {
    /// A batch, of which each step ends by itself.
    func execute(_ batch: [StepContext], with handler: any BatchHandler) async {
        logger.debug("batch started", metadata: ["handler": "\(batch[0].handler)", "steps": "\(batch.count)"])
        let begin = ContinuousClock.now
        let results = await perform(batch, with: handler)
        let elapsed = (ContinuousClock.now - begin).inSeconds
        for step in batch { await journal.close(step.work.handOut) }
        logger.debug(
            "batch finished",
            metadata: ["handler": "\(batch[0].handler)", "steps": "\(batch.count)", "seconds": "\(elapsed)"]
        )
        core.withLock { _ = $0.tasks.removeValue(forKey: batch[0].work.handOut) }
        pursue { state, now in
            for (step, result) in zip(batch, results) {
                state.finished(step.work.handOut, result, elapsed: elapsed, at: now)
            }
        }
    }

    /// A step whose values cannot be had fails alone; the others are executed without it.
    private func perform(_ batch: [StepContext], with handler: any BatchHandler) async -> [StepResult] {
        var results: [StepResult?] = []
        var complete: [StepContext] = []
        for var step in batch {
            do {
                step.late = try await lateValues(of: step.work)
                complete.append(step)
                results.append(nil)
            } catch {
                results.append(StepResult(error))
            }
        }
        guard !complete.isEmpty else { return results.compactMap { $0 } }
        var rest = zip(complete, await handler.results(of: complete)).map { step, result in
            step.late.map { result.redacted(by: $0.redaction) } ?? result
        }[...]
        return results.compactMap { $0 ?? rest.popFirst() }
    }
}
