/// Which tasks of a DAG may fail without the DAG failing.
///
/// To Argo a DAG has failed where a target has, or was left out below a task that has. So a failure does not count where
/// on every way down something runs in spite of it. Whether that is so is tried out, one task at a time, with all others
/// succeeding; conditions of tasks do not count.
struct ArgoTolerance {
    private(set) var tolerated: Set<String> = []

    private enum End {
        case succeeded, failed, omitted
    }

    private let depends: [String: ArgoDepends]
    private let continues: Set<String>
    private let targets: Set<String>
    private let numbers: [String: Int]
    private var dependents: [String: [String]] = [:]
    private var usual: [String: End] = [:]

    /// - Parameters:
    ///   - order: The tasks, each behind those that it depends on.
    ///   - continues: Those with `continueOn`.
    init(_ order: [String], _ depends: [String: ArgoDepends], continues: Set<String>, targets: [String]) {
        (self.depends, self.continues, self.targets) = (depends, continues, Set(targets))
        numbers = Dictionary(uniqueKeysWithValues: zip(order, order.indices))
        for name in order {
            for task in Set(depends[name]?.tasks ?? []) { dependents[task, default: []].append(name) }
            usual[name] = runs(name, [:]) ? .succeeded : .omitted
        }
        // In most graphs nothing runs in spite of a failure.
        var isFree: Set<String> = []
        for name in order.reversed() {
            let isOpen = dependents[name]?.contains { below in
                isFree.contains(below) || continues.contains(below) || depends[below]?.isList { _ in true } != true
            }
            if isOpen == true || continues.contains(name) { isFree.insert(name) }
        }
        for name in order where isFree.contains(name) && !failsByFailure(of: name) { tolerated.insert(name) }
    }

    /// Whether the DAG fails where this task does.
    private func failsByFailure(of name: String) -> Bool {
        // Those that are other than usual.
        var ends: [String: End] = [name: .failed]
        if targets.contains(name), !continues.contains(name) { return true }
        /// Tasks that failed, or were left out below one that did.
        var isFailed: Set<String> = [name]
        for next in descendants(of: name) {
            ends[next] = runs(next, ends) ? .succeeded : .omitted
            guard ends[next] == .omitted, depends[next]?.tasks.contains(where: isFailed.contains) == true else {
                continue
            }
            isFailed.insert(next)
            if targets.contains(next), !continues.contains(next) { return true }
        }
        return false
    }

    /// All below a task, each behind those that it depends on.
    private func descendants(of name: String) -> [String] {
        var found: Set<String> = []
        var open = dependents[name] ?? []
        while let next = open.popLast() {
            if found.insert(next).inserted { open += dependents[next] ?? [] }
        }
        return found.sorted { numbers[$0]! < numbers[$1]! }
    }

    private func runs(_ name: String, _ ends: [String: End]) -> Bool {
        depends[name].map { holds($0, ends) } ?? true
    }

    private func holds(_ depends: ArgoDepends, _ ends: [String: End]) -> Bool {
        switch depends {
        case .all(let parts): parts.allSatisfy { holds($0, ends) }
        case .any(let parts): parts.contains { holds($0, ends) }
        case .not(let inner): !holds(inner, ends)
        case .task(let name, let result):
            switch (ends[name] ?? usual[name] ?? .succeeded, result) {
            case (.succeeded, nil), (.succeeded, "Succeeded"), (.succeeded, "AnySucceeded"): true
            case (.failed, nil): continues.contains(name)
            case (.failed, "Failed"), (.failed, "Errored"), (.failed, "AllFailed"): true
            case (.omitted, "Omitted"): true
            default: false
            }
        }
    }
}
