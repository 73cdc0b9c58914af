import Postgres

/// A version of a workflow as the server keeps it.
public struct DefinedWorkflow: Sendable, Hashable, Encodable {
    public var workflow: String
    public var version: Int
    public var versionId: Int
    public var steps: Int
    public var edges: Int
}

/// One thing that is wrong with a definition.
public struct DefinitionProblem: Sendable, Hashable, Encodable {
    /// Where: `steps[2].retry.limit`.
    public var path: String
    public var code: String
    public var message: String
    public var hint: String?
}

extension Client {
    /// Makes a definition a new version of its workflow. The same definition again answers the same version.
    public func define(_ definition: WorkflowDefinition) async throws(MillraceError) -> DefinedWorkflow {
        try await define([definition])[0]
    }

    /// Makes each of several definitions a new version of its workflow: all of them, or none.
    public func define(_ definitions: [WorkflowDefinition]) async throws(MillraceError) -> [DefinedWorkflow] {
        let sql = """
            select d.workflow, d.version, d.version_id, d.steps, d.edges
            from unnest($1::jsonb[]) with ordinality g (definition, ord), lateral millrace.define_workflow(g.definition) d
            order by g.ord
            """
        return try await rows(sql, [.jsons(definitions.map(\.json))]) { row throws(PostgresError) in
            DefinedWorkflow(
                workflow: try row.string(0),
                version: try row.int(1),
                versionId: try row.int(2),
                steps: try row.int(3),
                edges: try row.int(4)
            )
        }
    }

    /// All that is wrong with a definition; nothing where ``define(_:)`` accepts it.
    public func validate(_ definition: WorkflowDefinition) async throws(MillraceError) -> [DefinitionProblem] {
        let sql = "select path, code, message, hint from millrace.validate_workflow($1)"
        return try await rows(sql, [.json(definition.json)]) { row throws(PostgresError) in
            DefinitionProblem(
                path: try row.decode(0, as: String?.self) ?? "",
                code: try row.string(1),
                message: try row.string(2),
                hint: try row.decode(3, as: String?.self)
            )
        }
    }

    /// The definition of a workflow as it was given, of its latest version or another.
    public func definition(of workflow: String, version: Int? = nil) async throws(MillraceError) -> WorkflowDefinition {
        let sql = """
            select definition from millrace.workflows
            where workflow = $1 and not inline and ($2::int is null or version = $2) order by version desc limit 1
            """
        let parameters: [Parameter] = [.text(workflow), .int32(version.map(Int32.init))]
        let found = try await rows(sql, parameters) { row throws(PostgresError) in try row.string(0) }
        guard let json = found.first else {
            let which = version.map { "version \($0) of workflow \"\(workflow)\"" } ?? "workflow \"\(workflow)\""
            throw MillraceError(.notFound, "There is no \(which).", hint: "Define it first: millrace define FILE.")
        }
        return try WorkflowDefinition(json: json)
    }
}
