import Postgres

/// A step that a run has gained.
public struct AddedStep: Sendable, Hashable, Encodable {
    public var stepNo: Int
    public var key: String
    public var state: String
}

/// A step that changes its own run, as its hand-out named it.
public struct CallingStep: Sendable, Hashable {
    public var stepNo: Int32
    public var token: Int32

    public init(stepNo: Int32, token: Int32) {
        self.stepNo = stepNo
        self.token = token
    }
}

/// What differs between two versions of a workflow.
public struct VersionChange: Sendable, Hashable, Encodable {
    /// The step; nil where it is about the workflow.
    public var key: String?
    /// `added`, `removed`, or the name of what differs.
    public var change: String
    public var old: JSONValue?
    public var new: JSONValue?
}

/// What another version changes for a run.
public struct MigrationChange: Sendable, Hashable, Encodable {
    /// The step; nil where it is about the workflow.
    public var key: String?
    /// How the step stood in the run; nil where it is new.
    public var state: String?
    /// `added`, `removed`, or the name of what differs.
    public var change: String
    public var old: JSONValue?
    public var new: JSONValue?
    /// False where something that has begun would mean something else.
    public var isAllowed: Bool
}

extension Client {
    /// Adds steps and edges to a run that has not ended.
    ///
    /// - Parameter step: The step that asks for it, if it is one of the run: nothing is added once it has lost its
    ///   hand-out.
    @discardableResult
    public func addSteps(
        _ run: Int64,
        _ growth: Growth,
        by step: CallingStep? = nil
    ) async throws(MillraceError) -> [AddedStep] {
        try await addSteps(run, json: growth.json.json, by: step)
    }

    /// Adds what a text says: `{"steps": [...], "edges": {"OLD": ["KEY"]}}`.
    @discardableResult
    public func addSteps(
        _ run: Int64,
        json: String,
        by step: CallingStep? = nil
    ) async throws(MillraceError) -> [AddedStep] {
        let sql = "select step_no, key, state from millrace.add_steps($1, $2, by_step_no => $3, by_token => $4)"
        let parameters: [Parameter] = [.int64(run), .json(json), .int32(step?.stepNo), .int32(step?.token)]
        return try await rows(sql, parameters) { row throws(PostgresError) in
            AddedStep(stepNo: try row.int(0), key: try row.string(1), state: try row.string(2))
        }
    }

    /// What differs between two versions of a workflow, the second being the latest where nil.
    public func difference(
        of workflow: String,
        from first: Int,
        to second: Int? = nil
    ) async throws(MillraceError) -> [VersionChange] {
        let sql = "select key, change, old, new from millrace.diff_versions($1, $2, $3)"
        let parameters: [Parameter] = [.text(workflow), .int32(Int32(first)), .int32(second.map(Int32.init))]
        let found = try await rows(sql, parameters) { row throws(PostgresError) in
            (
                key: try row.decode(0, as: String?.self), change: try row.string(1),
                old: try row.decode(2, as: String?.self), new: try row.decode(3, as: String?.self)
            )
        }
        var changes: [VersionChange] = []
        for row in found {
            changes.append(
                VersionChange(key: row.key, change: row.change, old: try value(row.old), new: try value(row.new))
            )
        }
        return changes
    }

    /// Moves a run to another version of its workflow, the latest where nil.
    ///
    /// - Parameter dryRun: Only answers what would change, also what is not allowed.
    /// - Returns: What changes.
    @discardableResult
    public func migrate(
        _ run: Int64,
        to version: Int? = nil,
        dryRun: Bool = false
    ) async throws(MillraceError) -> [MigrationChange] {
        let sql = """
            select key, state, change, old, new, allowed from millrace.migrate_run($1, version => $2, dry_run => $3)
            """
        let parameters: [Parameter] = [.int64(run), .int32(version.map(Int32.init)), .bool(dryRun)]
        let found = try await rows(sql, parameters) { row throws(PostgresError) in
            (
                key: try row.decode(0, as: String?.self), state: try row.decode(1, as: String?.self),
                change: try row.string(2), old: try row.decode(3, as: String?.self),
                new: try row.decode(4, as: String?.self), isAllowed: try row.decode(5, as: Bool.self)
            )
        }
        var changes: [MigrationChange] = []
        for row in found {
            changes.append(
                MigrationChange(
                    key: row.key,
                    state: row.state,
                    change: row.change,
                    old: try value(row.old),
                    new: try value(row.new),
                    isAllowed: row.isAllowed
                )
            )
        }
        return changes
    }

    private func value(_ json: String?) throws(MillraceError) -> JSONValue? {
        guard let json else { return nil }
        return try JSONValue(json: json)
    }
}
