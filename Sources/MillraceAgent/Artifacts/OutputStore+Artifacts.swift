import AsyncHTTPClient
import Foundation
import Millrace
import NIOCore
import SystemPackage

/// Large artifacts, which go through an agent piece by piece.
extension OutputStore {
    /// How long an artifact may take on its way.
    private static let artifactTimeout = TimeAmount.hours(1)

    /// - Parameters:
    ///   - head: What has been read already.
    ///   - next: The rest, piece by piece.
    /// - Returns: its name in the store.
    func put(
        head: [[UInt8]],
        next: @escaping @Sendable () async throws -> [UInt8]?,
        of step: StepContext
    ) async throws -> String {
        let name = "\(step.runID)-\(step.stepNo)-\(step.token)-\(UUID().uuidString.lowercased()).artifact"
        do {
            if place.isFileURL {
                try await write(Pieces(head: head, next: next), to: FilePath(place.appending(path: name).path))
            } else {
                var request = request(name)
                request.method = .PUT
                request.headers.add(name: "content-type", value: "application/octet-stream")
                request.body = .stream(Pieces(head: head, next: next).map { ByteBuffer(bytes: $0) }, length: .unknown)
                try check(try await HTTPClient.shared.execute(request, timeout: Self.artifactTimeout))
            }
        } catch {
            try Task.checkCancellation()
            throw HandlerError.retriable(
                "The artifact could not be put into the store: \(error)",
                errorClass: Self.errorClass
            )
        }
        return name
    }

    /// Under another name until all of it is there.
    private func write(_ pieces: Pieces, to path: FilePath) async throws {
        let unfinished = FilePath(path.string + ".part")
        let file = try FileDescriptor.open(
            unfinished,
            .writeOnly,
            options: [.create, .truncate, .closeOnExec],
            permissions: [.ownerReadWrite, .groupRead, .otherRead]
        )
        do {
            for try await piece in pieces { _ = try file.writeAll(piece) }
            try file.close()
            try FileManager.default.moveItem(atPath: unfinished.string, toPath: path.string)
        } catch {
            try? file.close()
            try? FileManager.default.removeItem(atPath: unfinished.string)
            throw error
        }
    }

    /// The bytes of an artifact that the store has.
    ///
    /// - Parameter stored: Its name in the store.
    package func content(
        name: String,
        contentType: String,
        bytes: Int64,
        sha256: String,
        at stored: String
    ) async throws -> ArtifactContent {
        do {
            let next = try await open(stored)
            return ArtifactContent(name: name, contentType: contentType, bytes: bytes, sha256: sha256, next: next)
        } catch {
            try Task.checkCancellation()
            throw HandlerError.retriable(
                "The artifact \(name) could not be read from the store: \(error)",
                errorClass: Self.errorClass
            )
        }
    }

    private func open(_ name: String) async throws -> @Sendable () async throws -> [UInt8]? {
        if place.isFileURL {
            let file = PieceReader(FileChunks(path: FilePath(place.appending(path: name).path)))
            return { try await file.next() }
        }
        let response = try await HTTPClient.shared.execute(request(name), timeout: Self.artifactTimeout)
        try check(response)
        let body = PieceReader(response.body.map { $0.readableBytesView })
        return { try await body.next() }
    }
}

/// The pieces of an artifact on its way into the store.
private struct Pieces: AsyncSequence, Sendable {
    let head: [[UInt8]]
    let next: @Sendable () async throws -> [UInt8]?

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(head: head[...], following: next) }

    struct AsyncIterator: AsyncIteratorProtocol {
        var head: ArraySlice<[UInt8]>
        let following: @Sendable () async throws -> [UInt8]?

        mutating func next() async throws -> [UInt8]? {
            if let first = head.popFirst() { return first }
            return try await following()
        }
    }
}
