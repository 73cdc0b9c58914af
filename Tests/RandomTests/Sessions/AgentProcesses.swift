import Foundation
import MillraceTestSupport
import Postgres

/// Agents in processes of their own, which may die at any moment, and are replaced.
final class AgentProcesses: @unchecked Sendable {
    // Unchecked: used by one task; processes are only asked for their number and their end.
    private let url: String
    private let count: Int
    private var running: [(process: Process, life: Pipe)] = []
    private(set) var deaths = 0

    init(url: String, count: Int) {
        (self.url, self.count) = (url, count)
    }

    /// Starts agents in place of those that have gone.
    func fill() throws {
        let gone = running.count { !$0.process.isRunning }
        deaths += gone
        running.removeAll { !$0.process.isRunning }
        while running.count < count { try start() }
    }

    func killOne(using random: inout SeededRandom) {
        guard let agent = running.randomElement(using: &random), agent.process.isRunning else { return }
        kill(agent.process.processIdentifier, SIGKILL)
    }

    /// Has all of them take their leave. Who does not is told of and killed, as any may be at any moment; that agents end
    /// when they are asked to is for other tests.
    func stop() async {
        for agent in running where agent.process.isRunning { agent.process.terminate() }
        do {
            try await eventually("the agents end", within: .seconds(60)) { running.allSatisfy { !$0.process.isRunning } }
        } catch {
            for agent in running where agent.process.isRunning {
                print("agent process \(agent.process.processIdentifier) has not ended")
                kill(agent.process.processIdentifier, SIGKILL)
            }
        }
    }

    private func start() throws {
        let process = Process()
        // The program stands beside the tests.
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "RandomAgent")
        process.environment = ["PATH": "/usr/bin:/bin", "MILLRACE_DATABASE_URL": url]
        // It ends with the other end of this pipe, which goes with this process however it ends.
        let life = Pipe()
        process.standardInput = life
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        running.append((process, life))
    }

    deinit {
        for agent in running where agent.process.isRunning { kill(agent.process.processIdentifier, SIGKILL) }
    }
}
