import Millrace

/// One call to the database under way: results out, work in.
package struct Flight: Sendable {
    package let agentID: Int32
    package let reports: [StepReport]
    /// What to take along; nil: nothing.
    package let capacity: Capacity?
    /// What `capacity` asks for, by slot.
    let asked: [Int]
    /// The slots' announcements when the call set out.
    let announcements: [Int]
    let setOutAt: ContinuousClock.Instant

    package var isClaim: Bool { reports.isEmpty }
}

/// How a flight failed.
package enum FlightFailure: Sendable {
    /// The transaction was rolled back; the same call may be made again.
    case rolledBack
    /// The connection is gone; nobody knows what became of the call.
    case connectionLost
    /// The database refuses the call.
    case refused
}

/// How the execution of a step ended.
package enum StepResult: Sendable {
    case output(String?)
    case failed(HandlerError)
    /// Nobody knows what became of it.
    case givenBack
    /// The handler has completed the step in the database.
    case settled
}

/// Why the agent stops a step that it holds.
package enum StopReason: Sendable, Equatable {
    /// The database has taken it away: cancelled, timed out there, or lost.
    case revoked
    case timedOut
    /// The agent must end.
    case stopping
}
