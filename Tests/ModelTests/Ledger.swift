import Synchronization

/// One hand-out of one step: what fences a report.
struct HandOut: Hashable, Sendable {
    var runID: Int64
    var stepNo: Int32
    var token: Int32
}

/// What the sessions were told once it was committed, and what they should not have been told. Shared by all sessions.
final class Ledger: Sendable {
    struct Contents: Sendable {
        var runs: [Int64: RunPlan] = [:]
        var handOuts: Set<HandOut> = []
        /// Reports that were answered `applied`.
        var applied: [HandOut: Report] = [:]
        var complaints: [String] = []
        /// How often each call was made, by name and outcome.
        var calls: [String: Int] = [:]
    }

    private let contents = Mutex(Contents())

    var snapshot: Contents { contents.withLock { $0 } }

    func submitted(_ runID: Int64, _ plan: RunPlan) { contents.withLock { $0.runs[runID] = plan } }

    func handedOut(_ handOuts: some Sequence<HandOut>) {
        contents.withLock { contents in
            for handOut in handOuts where !contents.handOuts.insert(handOut).inserted {
                contents.complaints.append("handed out twice: \(handOut)")
            }
        }
    }

    func applied(_ report: Report) {
        contents.withLock { contents in
            if contents.applied.updateValue(report, forKey: report.handOut) != nil {
                contents.complaints.append("applied twice: \(report.handOut)")
            }
        }
    }

    func complain(_ text: String) { contents.withLock { $0.complaints.append(text) } }

    func count(_ call: String) { contents.withLock { $0.calls[call, default: 0] += 1 } }
}
