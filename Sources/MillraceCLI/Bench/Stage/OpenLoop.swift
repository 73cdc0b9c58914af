import Millrace
import Synchronization

/// Submits runs by the clock: when each is due does not depend on how the ones before it fared.
package struct OpenLoop: Sendable {
    /// How many sessions submit.
    static let connections = 4

    /// Runs a second.
    package var rate: Double
    package var seconds: Double

    package init(rate: Double, seconds: Double) {
        self.rate = rate
        self.seconds = seconds
    }

    /// A run, when it was due, and when its submit returned; in seconds since 1970.
    struct Submit: Sendable, Hashable {
        var run: Int64
        var due: Double
        var returned: Double
    }

    /// Runs that are submitted together: one, or at high rates those of five milliseconds.
    var batch: Int { max(1, Int(rate * 0.005)) }

    /// How many runs there are.
    package var runs: Int { max(1, Int((rate * seconds).rounded())) }

    /// Batches in order: when each is due, in seconds after the beginning, and its size. A batch is due with its last
    /// run.
    package func batch(_ number: Int) -> (due: Double, runs: Int)? {
        let first = number * batch
        guard first < runs else { return nil }
        let size = min(batch, runs - first)
        return (Double(first + size - 1) / rate, size)
    }

    /// - Parameter lanes: How many submits may be under way at once.
    /// - Returns: All that were submitted.
    func submit(_ defined: DefinedWorkflow, _ client: Client, lanes: Int = connections) async throws -> [Submit] {
        let all = Mutex<[Submit]>([])
        try await submit(defined, client, lanes: lanes) { submits in all.withLock { $0 += submits } }
        return all.withLock { $0 }.sorted { $0.run < $1.run }
    }

    /// - Parameter each: Told of every batch when it has been submitted.
    func submit(
        _ defined: DefinedWorkflow,
        _ client: Client,
        lanes: Int = connections,
        each: @escaping @Sendable ([Submit]) -> Void
    ) async throws {
        var submission = Submission(workflow: defined.workflow)
        submission.version = defined.version
        let begin = ContinuousClock.now + .milliseconds(10)
        let beginDate = StepStarts.now + 0.01
        try await withThrowingTaskGroup(of: Void.self) { [submission] tasks in
            for lane in 0..<lanes {
                tasks.addTask {
                    var number = lane
                    while let (due, runs) = batch(number) {
                        try await Task.sleep(until: begin + .seconds(due), tolerance: .zero)
                        let ids =
                            runs == 1
                            ? [try await client.submit(submission)]
                            : try await client.submitMany(submission, inputs: Array(repeating: nil, count: runs))
                        let returned = StepStarts.now
                        each(ids.map { Submit(run: $0, due: beginDate + due, returned: returned) })
                        number += lanes
                    }
                }
            }
            try await tasks.waitForAll()
        }
    }
}
