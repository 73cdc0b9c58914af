/// Which tasks of a DAG may fail without the DAG failing.
///
/// To Argo a DAG has failed where a target has, or was left out below a task that has. So a failure does not count where
/// on every way down something runs in spite of it.
struct ArgoTolerance {
    private(set) var tolerated: Set<String> = []

    private let depends: [String: ArgoDepends]
    private let continues: Set<String>

    /// - Parameters:
    ///   - order: The tasks, each behind those that it depends on.
    ///   - continues: Those with `continueOn`.
    init(_ order: [String], _ depends: [String: ArgoDepends], continues: Set<String>, targets: [String]) {
        (self.depends, self.continues) = (depends, continues)
        var dependents: [String: [String]] = [:]
        for name in order {
            for task in Set(depends[name]?.tasks ?? []) { dependents[task, default: []].append(name) }
        }
        for name in order {
            guard let below = dependents[name] else {
                if continues.contains(name) { tolerated.insert(name) }
                continue
            }
            // In most graphs nothing runs in spite of a failure.
            guard below.contains(where: { runs($0, [name: false]) }) else { continue }
            var ended: [String: Bool?] = [name: false]
            var open = below
            var fails = targets.contains(name) && !continues.contains(name)
            while let next = open.popLast(), !fails {
                guard ended[next] == nil, !runs(next, ended) else { continue }
                ended[next] = .some(nil)
                fails = targets.contains(next)
                open += dependents[next] ?? []
            }
            if !fails { tolerated.insert(name) }
        }
    }

    /// Whether a task runs where some have failed (false) or were left out (nil), and all others have succeeded.
    private func runs(_ name: String, _ ended: [String: Bool?]) -> Bool {
        depends[name].map { holds($0, ended) } ?? true
    }

    private func holds(_ depends: ArgoDepends, _ ended: [String: Bool?]) -> Bool {
        switch depends {
        case .all(let parts): parts.allSatisfy { holds($0, ended) }
        case .any(let parts): parts.contains { holds($0, ended) }
        case .not(let inner): !holds(inner, ended)
        case .task(let name, let result):
            switch (ended[name], result) {
            case (nil, nil), (nil, "Succeeded"), (nil, "AnySucceeded"): true
            case (false??, nil): continues.contains(name)
            case (false??, "Failed"), (false??, "Errored"), (false??, "AllFailed"): true
            case (.some(nil), "Omitted"): true
            default: false
            }
        }
    }
}
