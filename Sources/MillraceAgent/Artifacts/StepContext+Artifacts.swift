import Foundation
import Millrace
import SystemPackage

/// Files that a step leaves behind, and those that others of its run have left.
extension StepContext {
    /// Stores a file, whatever its size, as it comes. It is seen when all of it has come, in the place of one with its
    /// name; `millrace artifacts` lists it.
    ///
    /// - Parameters:
    ///   - name: A file's name, without slashes, that does not begin with a dot.
    ///   - type: The content type; nil: as the name says.
    ///   - chunks: Arrays of bytes, `Data`, views of buffers, ….
    /// - Throws: a ``HandlerError`` of class `artifact`, fatal where the file is too large or its name is none;
    ///   ``/Millrace/MillraceError`` with ``/Millrace/MillraceError/Code-swift.struct/staleHandOut`` where the step was
    ///   taken away; what `chunks` throws.
    @discardableResult
    public func store<Chunks: AsyncSequence & SendableMetatype>(
        artifact name: String,
        type: String? = nil,
        _ chunks: Chunks
    ) async throws -> StoredArtifact where Chunks.Element: Sequence<UInt8> {
        guard let database else {
            throw HandlerError.fatal("There is no database to keep \(name).", errorClass: ArtifactWriter.errorClass)
        }
        let writer = ArtifactWriter(
            database: database,
            store: store,
            step: self,
            name: name,
            contentType: type ?? ContentType.of(name)
        )
        return try await writer.write(chunks)
    }

    /// Stores a file of the agent's machine.
    @discardableResult
    public func store(artifact name: String, type: String? = nil, file: URL) async throws -> StoredArtifact {
        try await store(artifact: name, type: type, FileChunks(path: FilePath(file.path)))
    }

    /// Stores bytes that are at hand.
    @discardableResult
    public func store(artifact name: String, type: String? = nil, bytes: [UInt8]) async throws -> StoredArtifact {
        let chunks = AsyncStream { stream in
            stream.yield(bytes)
            stream.finish()
        }
        return try await store(artifact: name, type: type, chunks)
    }

    /// A file that another step of the run, or an earlier try of this one, has left behind.
    ///
    /// - Parameters:
    ///   - key: Whose it is.
    ///   - element: Of a step with `for_each`, which of its elements.
    /// - Throws: ``/Millrace/MillraceError`` with
    ///   ``/Millrace/MillraceError/Code-swift.struct/unknownArtifact`` where there is none.
    public func artifact(_ name: String, of key: String, element: Int? = nil) async throws -> ArtifactContent {
        guard let database else {
            throw HandlerError.fatal("There is no database that has \(name).", errorClass: ArtifactWriter.errorClass)
        }
        let element = element.map(Int32.init)
        let fetched = try await database.client.fetch(
            agent: database.agentID,
            work.handOut,
            artifact: name,
            of: key,
            element: element
        )
        guard let place = fetched.place else {
            return database.client.content(
                of: fetched,
                agent: database.agentID,
                work.handOut,
                artifact: name,
                of: key,
                element: element
            )
        }
        guard let store else {
            throw HandlerError.fatal(
                "The artifact \(name) of \(key) lies in a store, and this agent has none. Set agent.outputs.store.",
                errorClass: ArtifactWriter.errorClass
            )
        }
        return try await store.content(
            name: name,
            contentType: fetched.contentType,
            bytes: fetched.bytes,
            sha256: fetched.sha256,
            at: place
        )
    }
}
