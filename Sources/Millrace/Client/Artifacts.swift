import Foundation
import Postgres

/// A file that a step has left behind.
public struct Artifact: Sendable, Hashable, Encodable {
    public var runId: Int64
    public var stepNo: Int
    public var key: String
    /// The index of the step in a fan-out.
    public var element: Int?
    public var name: String
    public var contentType: String
    public var bytes: Int64
    /// In hexadecimal digits.
    public var sha256: String
    public var storedAt: Date
    /// Its number among those of the step; another one once it is stored anew.
    public var artifactNo: Int
    public var parts: Int
    /// Its name in the agents' store, where its bytes lie there.
    public var place: String?
}

extension Client {
    /// The files that the steps of a run have left behind, by step and name.
    ///
    /// - Parameter key: Of that step alone; of all where nil.
    public func artifacts(of run: Int64, key: String? = nil) async throws(MillraceError) -> [Artifact] {
        let sql = """
            select run_id, step_no, key, element, name, content_type, bytes, sha256, stored_at, artifact_no, parts, place
            from millrace.artifacts where run_id = $1 and ($2::text is null or key = $2) order by step_no, name
            """
        return try await rows(sql, [.int64(run), .text(key)]) { row throws(PostgresError) in
            Artifact(
                runId: try row.int64(0),
                stepNo: try row.int(1),
                key: try row.string(2),
                element: try row.decode(3, as: Int?.self),
                name: try row.string(4),
                contentType: try row.string(5),
                bytes: try row.int64(6),
                sha256: try row.string(7),
                storedAt: try row.date(8) ?? .distantPast,
                artifactNo: try row.int(9),
                parts: try row.int(10),
                place: try row.optionalString(11)
            )
        }
    }

    /// The bytes of an artifact that the database has.
    public func content(of artifact: Artifact) -> ArtifactContent {
        ArtifactContent(
            name: artifact.name,
            contentType: artifact.contentType,
            bytes: artifact.bytes,
            sha256: artifact.sha256,
            parts: Int32(artifact.parts)
        ) { part in
            let sql = "select millrace.read_artifact(run_id => $1, step_no => $2, artifact_no => $3, part_no => $4)"
            let parameters: [Parameter] = [
                .int64(artifact.runId), .int32(Int32(artifact.stepNo)), .int32(Int32(artifact.artifactNo)), .int32(part),
            ]
            return try await row(sql, parameters) { row throws(PostgresError) in try row.bytes(0) }
        }
    }
}
