import Logging
import Millrace
import Postgres

/// Being known to the database: registration, lease, wakes.
extension AgentLoop {
    /// Channel on which the database says that steps were taken away.
    static let revokedChannel = "millrace_revoked"

    func register() async throws {
        let registration = try await client.register(
            queues: configuration.queues,
            handlers: handlers.keys.sorted(),
            name: configuration.name,
            lease: configuration.lease,
            listening: true
        )
        await client.warmUp(agent: registration.agentID, connections: pool.statistics.min)
        core.withLock { core in
            core.protocolNumber = registration.protocolNumber
            core.state.registered(as: registration.agentID, at: .now)
        }
        listener.listen(to: Set(registration.channels + [Self.revokedChannel]))
        logger.info(
            "The agent is registered.",
            metadata: [
                "agent_id": "\(registration.agentID)", "tier": "\(registration.tier)",
                "queues": "\(configuration.queues.joined(separator: ","))",
                "handlers": "\(handlers.keys.sorted().joined(separator: ","))",
            ]
        )
        beats.ring()
        alarm.ring()
    }

    /// Whether the agent must register anew and nobody is at it.
    func takeRegistering() -> Bool {
        core.withLock { core in
            guard core.state.agentID == nil, !core.isRegistering, core.ending == nil else { return false }
            core.isRegistering = true
            return true
        }
    }

    /// After the database has forgotten the agent.
    func registerAgain() async {
        var attempt = 0
        while !Task.isCancelled {
            do {
                try await register()
                break
            } catch {
                logger.warning("The agent could not be registered again.", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: configuration.limits.reconnect.delay(attempt: attempt))
                attempt += 1
            }
        }
        core.withLock { $0.isRegistering = false }
        alarm.ring()
    }

    /// Beats when the database wants it, and at once when told that steps were taken away.
    func keepLease() async {
        for await _ in beats.wakes {
            let (agent, queued) = core.withLock { ($0.state.agentID, $0.state.queuedSteps) }
            guard let agentID = agent else { continue }
            do {
                let answer = try await client.heartbeat(agent: agentID, queued: queued)
                apply(answer)
                tunePool()
                beats.set(for: .now + answer.nextBeat)
            } catch {
                // The agent goes, and its last heartbeat with it.
                if Task.isCancelled { return }
                _ = classify(error, of: agentID, during: "heartbeat")
                beats.set(for: .now + min(.seconds(1), configuration.lease / 5))
            }
        }
    }

    private func apply(_ answer: Heartbeat) {
        if !answer.revoked.isEmpty {
            let stopped = core.withLock { core in
                core.state.revoked(answer.revoked.map(\.handOut)).compactMap { core.tasks[$0] }
            }
            logger.info(
                "Steps were taken away.",
                metadata: ["steps": "\(answer.revoked.count)", "running": "\(stopped.count)"]
            )
            cancel(stopped)
            alarm.ring()
        }
        if answer.claimable { announce() }
    }

    /// What the listener has read, on its thread: a look sets out from here without another task in between.
    func hear(_ event: Listener.Event) {
        switch event {
        case .notification(let notification) where notification.channel == Self.revokedChannel: beats.ring()
        case .notification: announce()
        case .listening:
            // What was sent before may have been missed.
            announce()
            beats.ring()
        }
    }

    /// What a look brings is executed on the thread that has read it: nobody else has anything to do for it.
    private func announce() {
        if let flight = carryOn(after: { state, _ in state.announced() }) {
            setOut(flight, executor: Connection.answerExecutor)
        }
    }

    /// Says what kind of failure it is; one kind, that the agent is unknown, is acted on here.
    func classify(_ error: any Error, of agentID: Int32, during what: String) -> FlightFailure {
        let metadata: Logger.Metadata = ["during": "\(what)", "error": "\(error)"]
        guard let error = error as? MillraceError else {
            logger.error("The database could not be used.", metadata: metadata)
            return .refused
        }
        if error.code == .unknownAgent {
            forget(agentID, metadata)
            return .refused
        }
        if error.isConnectionLoss {
            logger.warning("The database is gone; what runs goes on.", metadata: metadata)
            return .connectionLost
        }
        if error.isRetriable {
            logger.debug("The database asks to repeat the call.", metadata: metadata)
            return .rolledBack
        }
        logger.error("The database refuses a call.", metadata: metadata)
        return .refused
    }

    /// The database has forgotten this agent. Calls of a former registration may still learn that after a new one.
    private func forget(_ agentID: Int32, _ metadata: Logger.Metadata) {
        let stopped: [Task<Void, Never>]? = core.withLock { core in
            guard core.state.agentID == agentID else { return nil }
            return core.state.registrationLost().compactMap { core.tasks[$0] }
        }
        guard let stopped else { return }
        logger.warning("The database does not know this agent any more; it registers again.", metadata: metadata)
        cancel(stopped)
        alarm.ring()
    }

    /// Takes leave of the database, if it can be reached.
    func leave() async {
        alarm.finish()
        beats.finish()
        guard
            let agentID = core.withLock({
                $0.ending?.canReport == true && $0.state.failures == 0 ? $0.state.agentID : nil
            })
        else { return }
        do {
            try await client.deregister(agent: agentID)
            core.withLock { _ = $0.state.registrationLost() }
            logger.info("The agent has taken its leave.")
        } catch {
            logger.warning(
                "The agent could not take its leave; its lease will run out.",
                metadata: ["error": "\(error)"]
            )
        }
    }
}
