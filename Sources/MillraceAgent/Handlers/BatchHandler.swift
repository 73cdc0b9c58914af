/// A handler that executes steps together that their definition puts into batches (`batch`).
///
/// A batch counts as one step in execution. Each of its steps completes, fails and is tried again by itself, and ends
/// with the call. When one of them is taken away the call goes on; it is told to stop when none is wanted any more.
public protocol BatchHandler: Handler {
    /// Executes the steps of one batch: at least one, all with the same settings.
    ///
    /// - Returns: what came of each step, in order; an error as ``Handler/run(_:)`` would throw it.
    /// - Throws: what holds for all of them.
    func run(_ batch: [StepContext]) async throws -> [Result<Output, any Error>]
}

extension BatchHandler {
    /// A step that is in no batch.
    public func run(_ step: StepContext) async throws -> Output {
        let results = try await run([step])
        guard results.count == 1 else { throw Self.mismatch(results.count, steps: 1) }
        return try results[0].get()
    }

    /// What came of each step, whatever the handler does.
    func results(of batch: [StepContext]) async -> [StepResult] {
        do {
            let results = try await run(batch)
            guard results.count == batch.count else { throw Self.mismatch(results.count, steps: batch.count) }
            return results.map { result in
                switch result {
                case .success(let output): output.result
                case .failure(let error): StepResult(error)
                }
            }
        } catch {
            return batch.map { _ in StepResult(error) }
        }
    }

    private static func mismatch(_ results: Int, steps: Int) -> HandlerError {
        .fatal("The handler answered \(results) results for a batch of \(steps).")
    }
}

/// A batch handler made of a closure.
struct BatchClosureHandler: BatchHandler {
    let body: @Sendable ([StepContext]) async throws -> [Result<Output, any Error>]

    func run(_ batch: [StepContext]) async throws -> [Result<Output, any Error>] { try await body(batch) }
}
