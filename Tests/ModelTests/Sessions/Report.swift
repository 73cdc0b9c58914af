import MillraceTestSupport

/// One row of a report, good or bad.
struct Report: Sendable {
    enum Outcome: String, Sendable, CaseIterable { case completed, failed, fatal, timedOut = "timed_out", released }

    /// What the engine has to make of it.
    enum Expectation: Sendable {
        /// `applied` while the hand-out is the agent's, `stale` when it was taken from it.
        case accepted
        /// The row itself is bad.
        case rejected
        /// There never was such a hand-out.
        case unknown
    }

    var handOut: HandOut
    var outcome: Outcome
    var output: String?
    var error: String?
    var expectation = Expectation.accepted

    /// As jsonb writes it, so that it can be compared as text.
    static func output(of handOut: HandOut) -> String { #"{"token": \#(handOut.token)}"# }

    static func random(for handOut: HandOut, using random: inout SeededRandom) -> Report {
        let outcome: Outcome = random.pick(weighted: [
            .completed: 75, .failed: 9, .fatal: 3, .timedOut: 3, .released: 10,
        ])
        var report = Report(handOut: handOut, outcome: outcome)
        switch outcome {
        case .completed: report.output = random.chance(0.7) ? output(of: handOut) : nil
        case .failed, .fatal, .timedOut: report.error = random.chance(0.8) ? "no luck with token \(handOut.token)" : nil
        case .released: break
        }
        return report
    }

    /// A row that must leave everything as it is, made from a step that the agent holds.
    static func bad(from handOut: HandOut, using random: inout SeededRandom) -> Report {
        var report = Report(handOut: handOut, outcome: .completed)
        switch random.int(0...5) {
        case 0: (report.output, report.expectation) = ("{no json", .rejected)
        case 1: (report.output, report.expectation) = (#"{"nul": "\u0000"}"#, .rejected)
        case 2: (report.output, report.expectation) = ("\"" + String(repeating: "x", count: 2 << 20) + "\"", .rejected)
        case 3: (report.handOut.token, report.expectation) = (handOut.token + 1000, .unknown)
        case 4: (report.handOut.stepNo, report.expectation) = (9999, .unknown)
        default: (report.handOut.runID, report.expectation) = (Int64(1) << 40, .unknown)
        }
        return report
    }

    func accepts(_ answer: String) -> Bool {
        switch expectation {
        case .accepted: answer == "applied" || answer == "stale"
        case .rejected: answer == "rejected"
        case .unknown: answer == "unknown"
        }
    }
}
