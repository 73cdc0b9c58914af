import Millrace

extension Client {
    /// Lets the agents finish some small runs: a connection's first calls plan every statement of the engine, which is
    /// no part of what is measured.
    func warmUp() async throws {
        let defined = try await define(Shape.diamond(8).definition(handler: "noop"))
        var submission = Submission(workflow: defined.workflow)
        submission.version = defined.version
        for _ in 1...10 {
            let runs = try await submitMany(submission, inputs: Array(repeating: nil, count: 20))
            try await waitForRuns(from: runs.min(), of: defined)
        }
    }

    /// Waits until all of a version's runs from one on are over.
    func waitForRuns(from first: Int64?, of defined: DefinedWorkflow) async throws {
        var busy = first
        while let run = busy {
            let asked = ContinuousClock.now
            busy = try await firstBusyRun(from: run, versionId: defined.versionId)
            // Looking must not cost the agents much: they get nineteen twentieths of the time for themselves.
            if busy != nil { try await Task.sleep(for: max(.milliseconds(20), (ContinuousClock.now - asked) * 19)) }
        }
    }
}
