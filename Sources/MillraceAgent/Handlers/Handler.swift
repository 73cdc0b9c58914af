/// The code that executes the steps of one handler name.
///
/// A handler is told to stop (its step was cancelled or lost, timed out, or the agent must end) by the
/// cancellation of its task. What it returns after that is not reported.
public protocol Handler: Sendable {
    /// Executes one step.
    ///
    /// - Returns: the step's output.
    /// - Throws: ``HandlerError``, to choose whether the step may be tried again; any other error counts as retriable.
    func run(_ step: StepContext) async throws -> Output
}

/// A handler that answers within microseconds and never waits.
///
/// The agent calls it where it stands, without a task per step, so its steps have no timeout, cannot be
/// interrupted and do not count as running.
public protocol ImmediateHandler: Handler {
    func runNow(_ step: StepContext) throws -> Output
}

extension ImmediateHandler {
    public func run(_ step: StepContext) async throws -> Output { try runNow(step) }
}

/// A handler whose steps do nothing but let time pass.
///
/// They count as running, can be stopped and have their timeouts, but have no tasks: the agent ends those that are due
/// together.
protocol WaitingHandler: Handler {
    /// How long the step takes.
    func duration(of step: StepContext) throws -> Duration
}

extension WaitingHandler {
    func run(_ step: StepContext) async throws -> Output {
        try await Task.sleep(for: duration(of: step), tolerance: .zero)
        return .none
    }
}

/// A handler made of a closure.
struct ClosureHandler: Handler {
    let body: @Sendable (StepContext) async throws -> Output

    func run(_ step: StepContext) async throws -> Output { try await body(step) }
}
