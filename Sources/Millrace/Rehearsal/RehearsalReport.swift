/// What came of a rehearsal.
public struct RehearsalReport: Sendable, Encodable {
    /// A try that was started.
    public struct Start: Sendable, Encodable {
        /// The step's key; of an element `key[3]`, of another workflow `workflow/key`.
        public var step: String
        public var attempt: Int
        /// Seconds since the run was submitted, by the engine's clock.
        public var at: Double
        /// When it ended; nil where it was taken away or never ended.
        public var endedAt: Double?
        public var input: JSONValue?
        /// How it ended: an outcome, `cancelled` or `lost`.
        public var outcome: String?
        public var error: String?
        /// Whether the script said how, or it was executed.
        public var isMocked: Bool
    }

    /// How a step stands in the end.
    public struct Step: Sendable, Encodable {
        public var key: String
        public var state: String
        public var attempts: Int
        public var error: String?
        public var output: JSONValue?
        /// Why it has not ended, where it has not.
        public var reason: String?
    }

    public var workflow: String
    public var state: String
    /// From the submit to the end, by the engine's clock.
    public var seconds: Double
    /// The path: what was started, in order.
    public var starts: [Start]
    public var steps: [Step]
    /// What was expected and does not hold.
    public var violations: [String]

    public var isOver: Bool { ["completed", "failed", "cancelled"].contains(state) }
    public var passed: Bool { violations.isEmpty }
}
