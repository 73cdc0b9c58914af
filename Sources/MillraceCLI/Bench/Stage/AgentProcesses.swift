import Foundation
import Subprocess
import SystemPackage

/// Agents in processes of their own, each as `millrace agent` starts one.
struct AgentProcesses: Crew {
    var count: Int
    /// What follows `millrace agent`.
    var arguments: [String]
    /// Added to the environment.
    var settings: [String: String] = [:]

    /// Lets them work while `body` goes on, then stops them gracefully.
    func work<Result: Sendable>(while body: @escaping @Sendable () async throws -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Result?.self) { tasks in
            for number in 1...count {
                tasks.addTask {
                    try await agent(number)
                    return nil
                }
            }
            tasks.addTask { try await body() }
            guard let first = try await tasks.next(), let result = first else { throw AgentCrew.Interrupted() }
            tasks.cancelAll()
            while let _ = try await tasks.next() {}
            return result
        }
    }

    /// One agent, until it is told to stop by the cancellation of this task.
    private func agent(_ number: Int) async throws {
        var options = PlatformOptions()
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(40))]
        _ = try await run(
            .path(FilePath("/proc/self/exe")),
            arguments: Arguments(["agent", "--name", "bench/\(number)", "--log-level", "error"] + arguments),
            environment: .inherit.updating(
                Dictionary(uniqueKeysWithValues: settings.map { (Environment.Key(stringLiteral: $0), Optional($1)) })
            ),
            platformOptions: options,
            output: .discarded,
            error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false)
        )
    }
}
