import Postgres

/// Files that running steps leave behind.
extension WorkClient {
    /// Stores a part of a file.
    ///
    /// - Parameters:
    ///   - number: From 1 on, one behind the other; 1 begins the file anew. The last call may be repeated.
    ///   - sha256: Of the whole, with the last part.
    package func store(
        agent: Int32,
        _ handOut: HandOut,
        artifact name: String,
        contentType: String,
        part number: Int32,
        _ bytes: [UInt8],
        sha256: [UInt8]?
    ) async throws(MillraceError) {
        let sql = """
            select millrace.store_artifact(agent_id => $1, run_id => $2, step_no => $3, token => $4, name => $5,
                                           part_no => $6, part => $7, content_type => $8, sha256 => $9)
            """
        let parameters: [Parameter] = [
            .text(name), .int32(number), .bytes(bytes), .text(contentType), .bytes(sha256),
        ]
        _ = try await client.query(sql, Self.parameters(agent, handOut) + parameters)
    }

    /// Says where a file lies that the agent has put into its store.
    package func store(
        agent: Int32,
        _ handOut: HandOut,
        artifact name: String,
        contentType: String,
        place: String,
        bytes: Int64,
        sha256: [UInt8]
    ) async throws(MillraceError) {
        let sql = """
            select millrace.store_artifact_reference(agent_id => $1, run_id => $2, step_no => $3, token => $4, name => $5,
                                                     place => $6, bytes => $7, sha256 => $8, content_type => $9)
            """
        let parameters: [Parameter] = [
            .text(name), .text(place), .int64(bytes), .bytes(sha256), .text(contentType),
        ]
        _ = try await client.query(sql, Self.parameters(agent, handOut) + parameters)
    }

    /// A file that another step of the run has left behind.
    package struct Fetched: Sendable {
        package var number: Int32
        package var contentType: String
        package var bytes: Int64
        package var sha256: String
        package var parts: Int32
        /// Its name in the agents' store, where its bytes lie there.
        package var place: String?
        package var part: [UInt8]?
    }

    package func fetch(
        agent: Int32,
        _ handOut: HandOut,
        artifact name: String,
        of key: String,
        element: Int32?,
        part number: Int32 = 0
    ) async throws(MillraceError) -> Fetched {
        let sql = """
            select artifact_no, content_type, bytes, encode(sha256, 'hex'), parts, place, part
            from millrace.fetch_artifact(agent_id => $1, run_id => $2, step_no => $3, token => $4, key => $5, name => $6,
                                         part_no => $7, element => $8)
            """
        let parameters: [Parameter] = [.text(key), .text(name), .int32(number), .int32(element)]
        return try await client.row(sql, Self.parameters(agent, handOut) + parameters) { row throws(PostgresError) in
            Fetched(
                number: try row.int32(0),
                contentType: try row.string(1),
                bytes: try row.int64(2),
                sha256: try row.string(3),
                parts: try row.int32(4),
                place: try row.optionalString(5),
                part: try row.decode(6, as: [UInt8]?.self)
            )
        }
    }

    /// The bytes of a file that the database has, from what was fetched of it.
    package func content(
        of fetched: Fetched,
        agent: Int32,
        _ handOut: HandOut,
        artifact name: String,
        of key: String,
        element: Int32?
    ) -> ArtifactContent {
        ArtifactContent(
            name: name,
            contentType: fetched.contentType,
            bytes: fetched.bytes,
            sha256: fetched.sha256,
            parts: fetched.parts
        ) { number in
            let now = try await fetch(agent: agent, handOut, artifact: name, of: key, element: element, part: number)
            guard now.number == fetched.number, let part = now.part else {
                throw MillraceError(.damaged, "The artifact \(name) of \(key) was stored anew while it was read.")
            }
            return part
        }
    }
}
