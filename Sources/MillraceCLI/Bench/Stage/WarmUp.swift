import ArgumentParser
import Millrace

/// What goes before a measurement: a connection's first calls plan every statement of the engine, which is no part of
/// what is measured.
struct WarmUp: ParsableArguments {
    @Option(name: .customLong("warm-up"), help: "About how many steps are done before anything is measured.")
    var steps = 2000

    func validate() throws {
        guard 1...1_000_000 ~= steps else { throw ValidationError("--warm-up must lie between 1 and 1,000,000.") }
    }

    /// For what is too large to be run often.
    static var standard: WorkflowDefinition {
        get throws { try Shape.diamond(8).definition(.noop) }
    }
}

extension Client {
    /// Lets the agents finish some runs.
    ///
    /// - Returns: The number of steps.
    @discardableResult
    func warmUp(_ definition: WorkflowDefinition? = nil, steps: Int) async throws -> Int {
        let defined = try await define(definition ?? WarmUp.standard)
        let rounds = 10
        let runs = max(1, steps / defined.steps / rounds)
        for _ in 1...rounds { try await finish(try await submit(defined, runs: runs), of: defined) }
        return rounds * runs * defined.steps
    }

    /// Submits many runs, so many in a call.
    func submit(_ defined: DefinedWorkflow, runs: Int, batch: Int = 500) async throws -> [Int64] {
        var submission = Submission(workflow: defined.workflow)
        submission.version = defined.version
        var ids: [Int64] = []
        while ids.count < runs {
            ids += try await submitMany(submission, inputs: Array(repeating: nil, count: min(batch, runs - ids.count)))
        }
        return ids
    }

    /// Waits until some runs of a version are over.
    func finish(_ runs: [Int64], of defined: DefinedWorkflow) async throws {
        var busy = runs.min()
        while let run = busy {
            let asked = ContinuousClock.now
            busy = try await firstBusyRun(from: run, versionId: defined.versionId)
            // Looking must not cost the agents much: they get nineteen twentieths of the time for themselves.
            if busy != nil { try await Task.sleep(for: max(.milliseconds(20), (ContinuousClock.now - asked) * 19)) }
        }
    }
}
