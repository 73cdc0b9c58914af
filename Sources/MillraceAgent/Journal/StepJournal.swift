import Foundation
import Logging
import Millrace
import Synchronization

/// What running steps say of themselves, on its way to the database: progress and log lines, in batches.
///
/// Handlers only put down what they have to say; calls are made one after another, a moment later or when much has
/// come together, and before the step's result is reported. While the database is away lines wait, up to a bound.
final class StepJournal: Sendable {
    /// Lines that one hand-out may write; the database takes no more.
    static let maxLinesPerStep: Int32 = 10_000
    /// Lines that wait for the database, over all steps. Past it new ones are dropped.
    static let maxWaiting = 50_000
    static let maxLineLength = 8000
    static let batchSize = 1000
    static let delay = Duration.milliseconds(200)
    /// How long a result waits for what its step has said.
    static let patience = Duration.seconds(1)

    private struct State {
        var agentID: Int32?
        var lines: [StepLogLine] = []
        var progress: [HandOut: StepProgress] = [:]
        /// Lines so far, by hand-out that runs.
        var counts: [HandOut: Int32] = [:]
        var isScheduled = false
        /// The last of the calls under way, which wait for one another.
        var sending: Task<Void, Never>?

        var isEmpty: Bool { lines.isEmpty && progress.isEmpty }
    }

    private let client: WorkClient
    private let logger: Logger
    private let state = Mutex(State())

    init(client: WorkClient, logger: Logger) {
        self.client = client
        self.logger = logger
    }

    func note(_ progress: StepProgress, agent: Int32) {
        put(agent: agent) { $0.progress[progress.handOut] = progress }
    }

    func write(_ text: String, _ stream: StepLogLine.Stream, of handOut: HandOut, agent: Int32) {
        let at = Int64(Date().timeIntervalSince1970 * 1e6)
        put(agent: agent) { state in
            let number = state.counts[handOut, default: 0] + 1
            guard number <= Self.maxLinesPerStep, state.lines.count < Self.maxWaiting else { return }
            state.counts[handOut] = number
            let text = text.utf8.count > Self.maxLineLength ? String(text.prefix(Self.maxLineLength)) : text
            state.lines.append(StepLogLine(handOut: handOut, number: number, stream: stream, text: text, at: at))
        }
    }

    /// A step has ended: what it has said comes to the database before its result does, unless that takes too long.
    func close(_ handOut: HandOut) async {
        let hasSpoken = state.withLock { state in
            (state.counts.removeValue(forKey: handOut) != nil) || state.progress[handOut] != nil
        }
        guard hasSpoken else { return }
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        // Not children: the result waits for whichever is first, and for no longer.
        Task {
            await flush()
            end.finish()
        }
        Task {
            try? await Task.sleep(for: Self.patience)
            end.finish()
        }
        for await _ in ends {}
    }

    private func put(agent: Int32, _ change: (inout State) -> Void) {
        let (isFirst, isFull) = state.withLock { state in
            change(&state)
            state.agentID = agent
            let isFirst = !state.isScheduled && !state.isEmpty
            if isFirst { state.isScheduled = true }
            return (isFirst, state.lines.count == Self.batchSize)
        }
        // Not children of the handler: what it has said is told even if it is stopped.
        if isFull { Task { await flush() } }
        if isFirst {
            Task {
                try? await Task.sleep(for: Self.delay)
                state.withLock { $0.isScheduled = false }
                await flush()
            }
        }
    }

    /// Ends when all that was put down before it has been sent, or could not be.
    private func flush() async {
        let task = state.withLock { state in
            let previous = state.sending
            // Not a child, for the same reason.
            let task = Task {
                await previous?.value
                await self.send()
            }
            state.sending = task
            return task
        }
        await task.value
    }

    private func send() async {
        let (agent, lines, progress) = state.withLock { state in
            defer { (state.lines, state.progress) = ([], [:]) }
            return (state.agentID, state.lines, Array(state.progress.values))
        }
        guard let agent else { return }
        do {
            if !progress.isEmpty { try await client.report(agent: agent, progress: progress) }
            for start in stride(from: 0, to: lines.count, by: Self.batchSize) {
                try await client.append(agent: agent, lines: Array(lines[start..<min(start + Self.batchSize, lines.count)]))
            }
        } catch {
            // A line that is sent twice is kept once. Progress is out of date by then.
            let isAway = error.isRetriable || error.isConnectionLoss
            if isAway { state.withLock { $0.lines = Array((lines + $0.lines).prefix(Self.maxWaiting)) } }
            logger.log(
                level: isAway ? .debug : .notice,
                "What steps have written could not be stored.",
                metadata: ["lines": "\(lines.count)", "error": "\(error)"]
            )
        }
    }
}
