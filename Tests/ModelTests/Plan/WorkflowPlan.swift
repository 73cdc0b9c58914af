import MillraceTestSupport

/// A random workflow: what the engine is given as JSON, and what the oracle knows of it.
struct WorkflowPlan: Sendable {
    enum Rule: String, Sendable { case allCompleted = "all_completed", allDone = "all_done" }

    /// What a step asks for as its input.
    enum Input: Sendable {
        case whole, paths
        /// A path that nothing matches, and that must match: the step fails as it is handed out.
        case impossible
    }

    struct Step: Sendable {
        var key: String
        var needs: [Int]
        var rule: Rule
        var retryLimit: Int
        var backoff: Double
        var delay: Double?
        var timeout: Double?
        var queue: String
        var handler: String
        var priority: Int
        var input: Input
    }

    static let queues = ["default", "side"]
    static let handlers = ["alpha", "beta", "noop"]

    var name: String
    var steps: [Step]
    var cancelsOnFailure: Bool

    static func random(name: String, using random: inout SeededRandom) -> WorkflowPlan {
        let count = random.chance(0.1) ? random.int(20...40) : random.int(1...12)
        // Some are wide, some are deep, some are in between.
        let density = random.pick([0.1, 0.3, 0.6])
        let reach = random.pick([1, 3, count])
        let steps = (0..<count).map { number in
            let near = max(0, number - reach)..<number
            var needs = near.filter { _ in random.chance(density) }
            if needs.isEmpty, let last = near.last, random.chance(0.8) { needs = [last] }
            return Step(
                key: "s\(number)",
                needs: needs,
                rule: random.chance(0.25) ? .allDone : .allCompleted,
                retryLimit: random.pick(weighted: [0: 5, 1: 3, 3: 2]),
                backoff: random.pick([0, 0.01, 0.1]),
                delay: random.chance(0.1) ? random.pick([0.01, 0.2]) : nil,
                timeout: random.chance(0.1) ? 0.2 : nil,
                queue: random.pick(weighted: [queues[0]: 4, queues[1]: 1]),
                handler: random.pick(handlers),
                priority: random.chance(0.2) ? random.int(-5...5) : 0,
                input: random.pick(weighted: [.whole: 15, .paths: 14, .impossible: 1])
            )
        }
        return WorkflowPlan(name: name, steps: steps, cancelsOnFailure: random.chance(0.25))
    }

    var json: String {
        """
        {"workflow": "\(name)", "on_failure": "\(cancelsOnFailure ? "cancel" : "continue")", \
        "steps": [\(steps.map(json(of:)).joined(separator: ", "))]}
        """
    }

    private func json(of step: Step) -> String {
        var fields = [
            #""key": "\#(step.key)""#,
            #""handler": "\#(step.handler)""#,
            #""queue": "\#(step.queue)""#,
            #""rule": "\#(step.rule.rawValue)""#,
            #""priority": \#(step.priority)"#,
            #""retry": {"limit": \#(step.retryLimit), "backoff": \#(step.backoff), "factor": 1}"#,
            #""needs": [\#(step.needs.map { #""\#(steps[$0].key)""# }.joined(separator: ", "))]"#,
        ]
        if let delay = step.delay { fields.append(#""delay": \#(delay)"#) }
        if let timeout = step.timeout { fields.append(#""timeout": \#(timeout)"#) }
        switch step.input {
        case .whole: break
        case .paths: fields.append(#""input": {"of_run": "$.run.number", "of_needs": "$.needs.*.token"}"#)
        case .impossible: fields.append(#""input": {"none": "$.run.no_such_thing"}, "required": true"#)
        }
        return "{\(fields.joined(separator: ", "))}"
    }
}

/// A run that was submitted and committed.
struct RunPlan: Sendable {
    var workflow: WorkflowPlan
    /// It may begin later than it was submitted.
    var isPostponed: Bool
}
