import Foundation
import Millrace

/// What the log of events and the steps say about a replay.
struct ReplayAccount {
    let makespan: Double
    /// The engine's number of each step.
    let numbers: [Int]
    /// Steps that ran more often than once, or not at all.
    let notOnce: Int
    /// Steps that started before a need had ended.
    let early: Int
    /// By how much sleeps were longer than asked for.
    let overruns: Percentiles

    init(_ client: Client, run: Int64, _ recording: Recording) async throws {
        let events = try await client.allEvents(of: run)
        let steps = try await client.steps(of: run)
        self.init(events, steps: steps, recording)
    }

    init(_ events: [RunEvent], steps: [StepSummary], _ recording: Recording) {
        var starts: [Int: [Date]] = [:]
        var ends: [Int: [Date]] = [:]
        for event in events {
            guard let step = event.stepNo else { continue }
            switch event.kind {
            case "step_started": starts[step, default: []].append(event.at)
            // Taken ahead, and handed back before its handler ran.
            case "step_released": starts[step]?.removeLast()
            case "step_completed": ends[step, default: []].append(event.at)
            default: break
            }
        }
        let graph = recording.graph
        let byKey = Dictionary(uniqueKeysWithValues: steps.map { ($0.key, $0) })
        let numbers = graph.steps.map { byKey[$0.key]?.stepNo ?? 0 }
        self.numbers = numbers
        notOnce = numbers.filter { starts[$0]?.count != 1 || ends[$0]?.count != 1 }.count
        early = graph.needs.enumerated().filter { step, needs in
            guard let start = starts[numbers[step]]?.min() else { return false }
            return needs.contains { need in ends[numbers[need]]?.min().map { $0 > start } ?? true }
        }.count
        let recorder = LatencyRecorder()
        for (step, duration) in zip(graph.steps, recording.durations) where duration > 0 {
            if let elapsed = byKey[step.key]?.elapsed { recorder.record(seconds: elapsed - duration) }
        }
        overruns = recorder.percentiles
        let first = events.first { $0.kind == "run_submitted" }?.at
        let last = events.last { $0.kind == "run_completed" }?.at
        makespan = first.flatMap { first in last?.timeIntervalSince(first) } ?? .infinity
    }
}

extension Client {
    /// The whole log of a run.
    fileprivate func allEvents(of run: Int64) async throws -> [RunEvent] {
        var events: [RunEvent] = []
        while true {
            let page = try await self.events(after: events.last?.eventId ?? 0, run: run, limit: 10_000)
            guard !page.isEmpty else { return events }
            events += page
        }
    }

    /// Waits until the durations of a version's first run have been learnt, as far as they ever will be: the keeper
    /// reads the log within seconds, and stops when it has come to its end.
    func awaitDurations(of defined: DefinedWorkflow) async throws {
        var known = -1
        var looks = 0
        while looks < 3 {
            let durations = try await learntDurations(versionId: defined.versionId)
            // Three looks of the keeper without anything new.
            looks = durations.steps > 0 && durations.steps == known && durations.isRanked ? looks + 1 : 0
            known = durations.steps
            if known == defined.steps && durations.isRanked { return }
            try await Task.sleep(for: .milliseconds(1200))
        }
    }
}
