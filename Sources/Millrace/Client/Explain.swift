import Postgres

/// A step as its version has it: when it can start, and what hangs on it.
public struct ExplainedStep: Sendable, Hashable, Encodable {
    public var stepNo: Int
    public var key: String
    public var handler: String
    /// Steps on the longest way to it.
    public var level: Int
    /// Seconds from the start of a run, if nothing ever waits for a hand.
    public var earliest: Double
    /// What it takes, in seconds.
    public var seconds: Double
    /// Seconds by which it may be late without making the run longer.
    public var slack: Double
    /// Whether it stands on the longest path.
    public var critical: Bool
    /// Whether `seconds` has been measured; else it is what the definition expects.
    public var measured: Bool
    public var needs: [String]
    /// How many steps it waits for, directly or through others; nil in very large versions, as are the next two.
    public var ancestors: Int?
    /// How many wait for it.
    public var descendants: Int?
    /// How many could not complete if it failed.
    public var falls: Int?
}

/// What a version means: the order of its steps, their levels and paths, and where the time goes.
public struct WorkflowExplanation: Sendable, Hashable, Encodable {
    /// All that one step waits for, and all that waits for it, by key.
    public struct Paths: Sendable, Hashable, Encodable {
        public var key: String
        public var ancestors: [String]
        public var descendants: [String]
    }

    public var workflow: String
    public var version: Int
    /// In the order in which they can start.
    public var steps: [ExplainedStep]
    /// The longest path, first step first.
    public var criticalPath: [String]
    /// What it takes, in seconds.
    public var criticalSeconds: Double
    /// All steps one after the other, in seconds.
    public var totalSeconds: Double
    public var levels: Int
    /// Of the step that was asked for.
    public var paths: Paths?
}

extension Client {
    /// Explains a version of a workflow.
    ///
    /// - Parameters:
    ///   - version: The latest where nil.
    ///   - key: Of a step whose paths are to be listed.
    public func explain(
        _ workflow: String,
        version: Int? = nil,
        pathsOf key: String? = nil
    ) async throws(MillraceError) -> WorkflowExplanation {
        try await inTransaction { connection in
            try await Self.explain(workflow, version, key, on: connection)
        }
    }

    /// Explains a definition as the database understands it, and leaves nothing behind: it is defined in a transaction
    /// that is rolled back.
    public func explain(
        _ definition: WorkflowDefinition,
        pathsOf key: String? = nil
    ) async throws(MillraceError) -> WorkflowExplanation {
        try await inTransaction { connection in
            let sql = "select workflow, version from millrace.define_workflow($1)"
            guard let row = try await connection.query(sql, [.json(definition.json)]).first else {
                throw MillraceError(.unexpectedAnswer, "The server answered without a row.")
            }
            return try await Self.explain(try row.string(0), try row.int(1), key, on: connection)
        }
    }

    /// Ends a transaction without a commit, and carries what was found out of it.
    private struct RolledBack<Value: Sendable>: Error {
        var value: Value
    }

    private func inTransaction<Value: Sendable>(
        _ body: (Connection) async throws -> Value
    ) async throws(MillraceError) -> Value {
        do {
            return try await pool.transaction { connection -> Value in
                throw RolledBack(value: try await body(connection))
            }
        } catch let end as RolledBack<Value> {
            return end.value
        } catch let error as MillraceError {
            throw error
        } catch let error as PostgresError {
            throw MillraceError(error)
        } catch {
            throw MillraceError(.unexpectedAnswer, "\(error)")
        }
    }

    private static func explain(
        _ workflow: String,
        _ version: Int?,
        _ key: String?,
        on connection: Connection
    ) async throws -> WorkflowExplanation {
        let sql = """
            select step_no, key, handler, level, earliest::float8, seconds::float8, slack::float8, critical, measured, needs,
                   ancestors, descendants, falls
            from millrace.explain_workflow(workflow => $1, version => $2)
            """
        let parameters: [Parameter] = [.text(workflow), .int32(version.map(Int32.init))]
        var steps: [ExplainedStep] = []
        for row in try await connection.query(sql, parameters) {
            steps.append(
                ExplainedStep(
                    stepNo: try row.int(0),
                    key: try row.string(1),
                    handler: try row.string(2),
                    level: try row.int(3),
                    earliest: try row.double(4),
                    seconds: try row.double(5),
                    slack: try row.double(6),
                    critical: try row.decode(7),
                    measured: try row.decode(8),
                    needs: try row.decode(9, as: [String]?.self) ?? [],
                    ancestors: try row.decode(10, as: Int?.self),
                    descendants: try row.decode(11, as: Int?.self),
                    falls: try row.decode(12, as: Int?.self)
                )
            )
        }
        let critical = steps.filter(\.critical)
        let paths = try await paths(of: key, workflow, version, among: steps, on: connection)
        return WorkflowExplanation(
            workflow: workflow,
            version: paths.version,
            steps: steps,
            criticalPath: critical.map(\.key),
            criticalSeconds: critical.reduce(0) { $0 + $1.seconds },
            totalSeconds: steps.reduce(0) { $0 + $1.seconds },
            levels: 1 + (steps.map(\.level).max() ?? -1),
            paths: paths.paths
        )
    }

    private static func paths(
        of key: String?,
        _ workflow: String,
        _ version: Int?,
        among steps: [ExplainedStep],
        on connection: Connection
    ) async throws -> (version: Int, paths: WorkflowExplanation.Paths?) {
        let sql = """
            select version, ancestors, descendants from millrace.dependency_paths
            where workflow = $1 and key = $3 and run_id is null
              and version = coalesce($2, (select max(version) from millrace.workflows where workflow = $1 and not inline))
            """
        let parameters: [Parameter] = [
            .text(workflow), .int32(version.map(Int32.init)), .text(key ?? steps.first?.key),
        ]
        guard let row = try await connection.query(sql, parameters).first else {
            throw MillraceError(.notFound, "Workflow \"\(workflow)\" has no step \"\(key ?? "")\".")
        }
        let found = try row.int(0)
        guard let key else { return (found, nil) }
        let keys = Dictionary(uniqueKeysWithValues: steps.map { (Int32($0.stepNo), $0.key) })
        return (
            found,
            WorkflowExplanation.Paths(
                key: key,
                ancestors: try row.decode(1, as: [Int32]?.self)?.compactMap { keys[$0] } ?? [],
                descendants: try row.decode(2, as: [Int32]?.self)?.compactMap { keys[$0] } ?? []
            )
        )
    }
}
