/// How a step stands in a run, as a picture shows it.
public struct StepMark: Sendable, Hashable {
    public var state: String
    /// How far its elements are, or which run it is.
    public var note: String?

    public init(_ state: String, note: String? = nil) {
        self.state = state
        self.note = note
    }
}
