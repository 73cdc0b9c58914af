/// What a task of a template becomes, and how what depends on it sees its end.
///
/// Argo tells tasks that were skipped (their `when` was false) from tasks that were omitted (their `depends` was); both are
/// skipped steps here. So what asks for one of them asks besides whether the task was to run at all.
indirect enum ArgoTask {
    /// A task that does something.
    case step(ArgoStep)
    /// A task whose template orders others.
    case group(ArgoGroup)
    /// The items of a loop.
    case items([ArgoTask], runs: RuleExpression)

    var succeeded: RuleExpression {
        switch self {
        case .step(let step): .term(step.key, .completed)
        case .group(let group): .all(group.targets.map(\.settled)) && !skipped
        // Items that were skipped do not count.
        case .items(let items, let runs): items.isEmpty ? runs : .all(items.map { $0.succeeded || $0.skipped })
        }
    }

    var failed: RuleExpression {
        switch self {
        case .step(let step): .term(step.key, .failed)
        // A failure that something inside depended on is not the template's.
        case .group(let group): .any(group.keys.map { .term($0, .failed) }) && !.all(group.targets.map(\.settled))
        case .items(let items, _): .any(items.map(\.failed))
        }
    }

    /// Its condition was false.
    var skipped: RuleExpression {
        switch self {
        case .step(let step): step.isConditional ? .term(step.key, .skipped) && step.runs : .constant(false)
        case .group(let group):
            group.isConditional ? .all(group.keys.map { .term($0, .skipped) }) && group.runs : .constant(false)
        case .items: .constant(false)
        }
    }

    /// It was not to run.
    var omitted: RuleExpression {
        switch self {
        case .step(let step):
            step.isConditional ? .term(step.key, .skipped) && !step.runs : .term(step.key, .skipped)
        case .group(let group): .all(group.keys.map { .term($0, .skipped) }) && !group.runs
        case .items(let items, let runs): items.isEmpty ? !runs : .all(items.map(\.omitted))
        }
    }

    /// What a mere name asks for.
    var settled: RuleExpression {
        switch self {
        case .step, .items: succeeded || skipped
        case .group(let group): .all(group.targets.map(\.settled))
        }
    }

    func result(_ name: String?) -> RuleExpression? {
        switch name {
        case nil: settled
        case "Succeeded", "Completed": succeeded
        case "Failed", "Errored": failed
        case "Skipped": skipped
        case "Omitted": omitted
        // Daemons are refused where they are declared.
        case "Daemoned": .constant(false)
        case "AnySucceeded": .any(parts.map(\.succeeded))
        case "AllFailed": .all(parts.map(\.failed))
        default: nil
        }
    }

    private var parts: [ArgoTask] { if case .items(let items, _) = self { items } else { [self] } }

    /// Whether it ends otherwise than completed, or skipped by its condition, only where something above it failed.
    var isPlain: Bool {
        switch self {
        case .step(let step): step.isPlain
        case .group(let group): group.targets.allSatisfy(\.isPlain)
        case .items(let items, _): !items.isEmpty && items.allSatisfy(\.isPlain)
        }
    }

    /// The steps whose ends are its end.
    var ends: [String] {
        switch self {
        case .step(let step): [step.key]
        case .group(let group): group.targets.flatMap(\.ends)
        case .items(let items, _): items.flatMap(\.ends)
        }
    }

    /// All steps in it.
    var keys: [String] {
        switch self {
        case .step(let step): [step.key]
        case .group(let group): group.keys
        case .items(let items, _): items.flatMap(\.keys)
        }
    }
}

struct ArgoStep {
    var key: String
    /// When it is to run, conditions apart.
    var runs: RuleExpression
    var isConditional: Bool
    var isPlain: Bool
    /// Whether it is spread over a list, and answers with one.
    var isSpread = false
}

struct ArgoGroup {
    var targets: [ArgoTask]
    var keys: [String]
    var runs: RuleExpression
    var isConditional: Bool
    /// What the template gives out, by name.
    var outputs: [String: ArgoValue]
}

/// What must have happened before a task runs.
struct ArgoDependence {
    var runs = RuleExpression.constant(true)
    /// Whether it is a list of tasks that are all plain.
    var isPlain = true
    /// The steps whose ends it looks at.
    var needs: [String] = []
    /// Conditions of the templates around it.
    var when: [PathPredicate] = []
    /// The steps whose outputs these ask.
    var asks: [String] = []
}
