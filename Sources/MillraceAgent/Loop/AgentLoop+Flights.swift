import Millrace

/// Flights: results out, work in.
extension AgentLoop {
    /// Flies as long as there is reason to.
    func fly(_ first: Flight) async {
        var upcoming: Flight? = first
        while let flight = upcoming {
            let begin = ContinuousClock.now
            do {
                let answer = try await call(flight)
                let immediate = land(flight, answer, begin: begin)
                upcoming = carryOn { $0.executed(immediate, at: $1) }
            } catch {
                metrics.failed()
                let failure = classify(error, of: flight.agentID, during: "report and claim")
                upcoming = carryOn { $0.failed(flight, failure, at: $1) }
            }
        }
    }

    private func call(_ flight: Flight) async throws -> Reported {
        let protocolNumber = core.withLock { $0.protocolNumber }
        if flight.isClaim, let capacity = flight.capacity {
            let work = try await client.claim(
                agent: flight.agentID,
                capacity: capacity,
                protocolNumber: protocolNumber
            )
            return Reported(answers: [], started: work)
        }
        return try await client.report(
            agent: flight.agentID,
            flight.reports,
            capacity: flight.capacity,
            protocolNumber: protocolNumber
        )
    }

    /// Tells the state the answer, and executes what immediate handlers have to do.
    private func land(_ flight: Flight, _ answer: Reported, begin: ContinuousClock.Instant) -> [StepReport] {
        let now = ContinuousClock.now
        let (work, held, decisions) = core.withLock { core in
            let work = core.state.landed(flight, answer, at: now)
            return (work, AgentMetrics.Held(core.state, at: now), core.state.tuner.takeDecisions())
        }
        metrics.landed(flight, answer, after: now - begin, held)
        report(decisions)
        for (report, row) in zip(flight.reports, answer.answers) where row.answer != .applied {
            logger.log(
                // Stale is what a repeated report looks like, and one of a step that was taken away.
                level: row.answer == .stale ? .debug : .notice,
                "A report was not applied.",
                metadata: [
                    "run_id": "\(report.handOut.runID)", "step_no": "\(report.handOut.stepNo)",
                    "answer": "\(row.answer)", "code": "\(row.code ?? "")", "reason": "\(row.message ?? "")",
                ]
            )
        }
        return execute(immediate: work)
    }

    private func execute(immediate steps: [Work]) -> [StepReport] {
        var reports: [StepReport] = []
        reports.reserveCapacity(steps.count)
        var begin = ContinuousClock.now
        for step in steps {
            guard let handler = immediateHandlers[step.handler] else { continue }
            var report = StepReport(handOut: step.handOut, outcome: .completed)
            do {
                if case .json(let json) = try handler.runNow(StepContext(work: step, logger: logger)).content {
                    report.output = json
                }
            } catch {
                if case .failed(let error) = StepResult(error) {
                    report.outcome = error.isRetriable ? .failed : .fatal
                    report.error = error.message
                    report.errorClass = error.errorClass
                } else {
                    report.outcome = .released
                }
            }
            let end = ContinuousClock.now
            report.elapsed = (end - begin).inSeconds
            begin = end
            reports.append(report)
        }
        return reports
    }

    /// Tells the log and the metrics what the tuner has decided.
    func report(_ decisions: [TuningDecision]) {
        for decision in decisions {
            metrics.decided(decision)
            logger.info(
                "Tuned.",
                metadata: [
                    "what": "\(decision.knob.rawValue)", "from": "\(decision.from)", "to": "\(decision.to)",
                    "reason": "\(decision.reason)",
                ]
            )
        }
    }

    /// Lets the tuner see how callers of the pool fare, and the pool what it decides.
    func tunePool() {
        let waits = pool.statistics.waits
        let (connections, decisions) = core.withLock { core in
            core.state.tuner.looked(atPool: waits)
            return (core.state.tuner.tuning.connections, core.state.tuner.takeDecisions())
        }
        if !decisions.isEmpty { pool.resize(min: connections) }
        report(decisions)
    }

    /// After a lost answer: has the database take back all that is not known here.
    func reconcile() async {
        let (agent, known) = core.withLock { ($0.state.agentID, $0.state.known) }
        guard let agentID = agent else { return }
        do {
            let released = try await client.releaseOthers(agent: agentID, known)
            if released > 0 {
                logger.notice("Work that was lost on its way here was given back.", metadata: ["steps": "\(released)"])
            }
            core.withLock { $0.state.reconciled() }
        } catch {
            _ = classify(error, of: agentID, during: "reconciliation")
            core.withLock { $0.state.reconciliationFailed(at: .now) }
        }
        alarm.ring()
    }
}
