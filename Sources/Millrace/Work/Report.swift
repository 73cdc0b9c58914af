/// How an attempt ended.
public enum Outcome: String, Sendable, Hashable {
    case completed
    /// Retried as the definition says.
    case failed
    /// Failed, and never retried.
    case fatal
    case timedOut = "timed_out"
    /// Given back; the attempt is not counted.
    case released
}

/// What an agent reports of one step.
public struct StepReport: Sendable, Hashable {
    public var handOut: HandOut
    public var outcome: Outcome
    /// JSON text.
    public var output: String?
    /// Why it failed.
    public var error: String?
    /// What kind of failure it was; an extension of protocol 1 is not told.
    public var errorClass: String?
    /// The handler's own time in seconds.
    public var elapsed: Double?

    public init(
        handOut: HandOut,
        outcome: Outcome,
        output: String? = nil,
        error: String? = nil,
        errorClass: String? = nil,
        elapsed: Double? = nil
    ) {
        self.handOut = handOut
        self.outcome = outcome
        self.output = output
        self.error = error
        self.errorClass = errorClass
        self.elapsed = elapsed
    }
}

/// What the server answered to one reported step.
public struct ReportAnswer: Sendable, Hashable {
    public enum Answer: String, Sendable {
        case applied
        /// The step has been handed out again or has ended otherwise; nothing changed.
        case stale
        /// There never was such a hand-out.
        case unknown
        /// The output is none that can be stored; the step stays with the agent.
        case rejected
    }

    public var answer: Answer
    public var code: String?
    public var message: String?

    public init(answer: Answer, code: String? = nil, message: String? = nil) {
        self.answer = answer
        self.code = code
        self.message = message
    }
}

/// The answer to a report: one for each reported step, in order, and the work that was started in the same call.
public struct Reported: Sendable {
    public var answers: [ReportAnswer]
    public var started: [Work]

    public init(answers: [ReportAnswer], started: [Work]) {
        self.answers = answers
        self.started = started
    }
}

/// What an agent has room for.
public struct Capacity: Sendable, Equatable {
    /// Free slots in all.
    public var maxSteps: Int
    /// Free slots of each handler; where nil, `maxSteps` of any handler the agent is registered for.
    public var perHandler: [String: Int]?
    /// Settings and inputs together, in bytes.
    public var maxBytes: Int

    public init(maxSteps: Int, perHandler: [String: Int]? = nil, maxBytes: Int = 8_388_608) {
        self.maxSteps = maxSteps
        self.perHandler = perHandler
        self.maxBytes = maxBytes
    }

    var json: String? {
        guard let perHandler else { return nil }
        var writer = JSONWriter()
        writer.object { writer in
            for (handler, slots) in perHandler {
                writer.key(handler)
                writer.raw("\(slots)")
            }
        }
        return writer.text
    }
}
