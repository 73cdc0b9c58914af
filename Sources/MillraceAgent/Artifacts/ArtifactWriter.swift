import Foundation
import Millrace

/// A file that a step has left behind.
public struct StoredArtifact: Sendable, Hashable, Encodable {
    public var name: String
    public var bytes: Int64
    /// In hexadecimal digits.
    public var sha256: String
}

/// Brings a file of a step to the database, part by part, or to the store where there is one and the file is large.
struct ArtifactWriter: Sendable {
    /// The pauses before a call is repeated that was lost with its connection.
    static let pauses: [Duration] = [.milliseconds(100), .milliseconds(500), .seconds(2)]
    static let errorClass = "artifact"

    let database: StepContext.Database
    let store: OutputStore?
    let step: StepContext
    let name: String
    let contentType: String

    func write<Chunks: AsyncSequence & SendableMetatype>(
        _ chunks: Chunks
    ) async throws -> StoredArtifact where Chunks.Element: Sequence<UInt8> {
        let digest = ArtifactDigest()
        let reader = PieceReader(chunks)
        let next: @Sendable () async throws -> [UInt8]? = {
            let piece = try await reader.next()
            if let piece { digest.add(piece) }
            return piece
        }
        do {
            return try await write(next, digest)
        } catch let error as MillraceError {
            throw Self.failure(error)
        }
    }

    private func write(
        _ next: @escaping @Sendable () async throws -> [UInt8]?,
        _ digest: ArtifactDigest
    ) async throws -> StoredArtifact {
        guard let store else { return try await send([], next, digest) }
        // What the database takes is held until it is known to be all.
        var head: [[UInt8]] = []
        var bytes = 0
        while bytes <= store.inlineBytes {
            guard let piece = try await next() else { return try await send(head, { nil }, digest) }
            head.append(piece)
            bytes += piece.count
        }
        let place = try await store.put(head: head, next: next, of: step)
        let (size, sha256) = digest.finish()
        try await repeating {
            try await database.client.store(
                agent: database.agentID,
                step.work.handOut,
                artifact: name,
                contentType: contentType,
                place: place,
                bytes: size,
                sha256: sha256
            )
        }
        return StoredArtifact(name: name, bytes: size, sha256: sha256.hex)
    }

    /// In parts, the last of which shows the file.
    private func send(
        _ head: [[UInt8]],
        _ next: () async throws -> [UInt8]?,
        _ digest: ArtifactDigest
    ) async throws -> StoredArtifact {
        var head = head[...]
        func piece() async throws -> [UInt8]? {
            if let first = head.popFirst() { return first }
            return try await next()
        }
        var part = try await piece() ?? []
        var number: Int32 = 1
        while let following = try await piece() {
            try await send(part, number, sha256: nil)
            part = following
            number += 1
        }
        let (size, sha256) = digest.finish()
        try await send(part, number, sha256: sha256)
        return StoredArtifact(name: name, bytes: size, sha256: sha256.hex)
    }

    private func send(_ part: [UInt8], _ number: Int32, sha256: [UInt8]?) async throws {
        try await repeating {
            try await database.client.store(
                agent: database.agentID,
                step.work.handOut,
                artifact: name,
                contentType: contentType,
                part: number,
                part,
                sha256: sha256
            )
        }
    }

    /// A call may have been carried out before its answer was lost: each can be made again.
    private func repeating(_ call: () async throws -> Void) async throws {
        for pause in Self.pauses {
            do {
                return try await call()
            } catch let error as MillraceError where error.isRetriable || error.isConnectionLoss {
                try await Task.sleep(for: pause)
            }
        }
        try await call()
    }

    /// What no other try will change is no reason for one.
    private static func failure(_ error: MillraceError) -> any Error {
        switch error.code {
        case .staleHandOut: error
        case .artifactTooLarge, .tooManyArtifacts, .malformedArgument:
            HandlerError.fatal("\(error)", errorClass: errorClass)
        default: HandlerError.retriable("\(error)", errorClass: errorClass)
        }
    }
}
