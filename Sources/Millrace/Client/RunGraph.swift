import Postgres

extension Client {
    /// The steps of a run as a graph, with what its definition says of each, and how each stands.
    public func graph(of run: Int64) async throws(MillraceError) -> (graph: StepGraph, marks: [StepMark]) {
        let outline = try await definition(ofRun: run)
        let sql = """
            select step_no, key, state::text, handler, needs, element is not null from millrace.steps
            where run_id = $1 order by step_no
            """
        let rows = try await rows(sql, [.int64(run)]) { row throws(PostgresError) in
            StepRow(
                number: try row.int(0),
                key: try row.string(1),
                state: try row.string(2),
                handler: try row.string(3),
                needs: try row.decode(4, as: [String]?.self) ?? [],
                isElement: try row.decode(5)
            )
        }
        let children = try await children(of: run)
        // What a step says of itself is the definition's; steps and needs that the run has gained only its rows know.
        var steps = outline.steps
        var places = Dictionary(steps.enumerated().map { ($1.key, $0) }) { first, _ in first }
        var standing: [String: Standing] = [:]
        for row in rows {
            if let place = places[row.key] {
                if standing[row.key] == nil { steps[place].needs = row.needs }
            } else {
                places[row.key] = steps.count
                steps.append(.init(key: row.key, handler: row.handler, needs: row.needs))
            }
            standing[row.key, default: Standing()].add(row, child: children[row.number])
        }
        let marks = steps.map { standing[$0.key]?.mark ?? StepMark("pending") }
        return (try StepGraph(name: outline.name, steps: steps), marks)
    }

    private struct StepRow {
        var number: Int
        var key: String
        var state: String
        var handler: String
        var needs: [String]
        var isElement: Bool
    }

    /// A step and, where it has some, its elements.
    private struct Standing {
        var state: String?
        var elements = 0
        var ended = 0
        var failed = 0
        var runs: [String] = []

        mutating func add(_ row: StepRow, child: (run: Int64, state: String)?) {
            if let child { runs.append("run \(child.run) \(child.state)") }
            guard row.isElement else {
                state = row.state
                return
            }
            elements += 1
            if ["completed", "failed", "skipped", "cancelled"].contains(row.state) { ended += 1 }
            if row.state == "failed" { failed += 1 }
        }

        var mark: StepMark {
            var notes = elements > 0 ? ["\(ended) of \(elements)\(failed > 0 ? ", \(failed) failed" : "")"] : []
            notes += runs.prefix(3)
            if runs.count > 3 { notes.append("and \(runs.count - 3) more runs") }
            // the compensations of elements have no step above them
            let state = state ?? (ended < elements ? "running" : failed > 0 ? "failed" : "completed")
            return StepMark(state, note: notes.isEmpty ? nil : notes.joined(separator: ", "))
        }
    }

    private func definition(ofRun run: Int64) async throws(MillraceError) -> WorkflowDefinition {
        let sql = """
            select w.definition from millrace.runs r join millrace.workflows w using (workflow, version) where r.run_id = $1
            """
        let found = try await rows(sql, [.int64(run)]) { row throws(PostgresError) in try row.string(0) }
        guard let json = found.first else { throw Self.unknown(run) }
        return try WorkflowDefinition(json: json)
    }

    /// The runs that are steps of a run, by the steps' numbers.
    private func children(of run: Int64) async throws(MillraceError) -> [Int: (run: Int64, state: String)] {
        let sql = """
            select parent_step_no, run_id, state::text from millrace.runs
            where parent_run_id = $1 and parent_step_no is not null order by run_id
            """
        let found = try await rows(sql, [.int64(run)]) { row throws(PostgresError) in
            (try row.int(0), (run: try row.int64(1), state: try row.string(2)))
        }
        return Dictionary(found) { _, last in last }
    }
}
