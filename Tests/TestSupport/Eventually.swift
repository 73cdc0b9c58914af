/// Waits until a state is reached, looking again and again. The deadline is generous: it is there to end a test that
/// has failed, not to measure.
public func eventually(
    _ what: String = "the condition",
    within limit: Duration = .seconds(30),
    isolation: isolated (any Actor)? = #isolation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw TestSupportError("Not within \(limit): \(what)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}
