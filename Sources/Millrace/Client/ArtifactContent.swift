import Synchronization

/// The bytes of an artifact, in pieces, to be read once. The sequence ends with an error where they are not what the
/// artifact's size and checksum say.
public struct ArtifactContent: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias AsyncIterator = AsyncThrowingStream<[UInt8], any Error>.Iterator

    public let name: String
    public let contentType: String
    public let bytes: Int64
    /// In hexadecimal digits.
    public let sha256: String
    private let pieces: AsyncThrowingStream<[UInt8], any Error>

    /// - Parameter next: A piece at each call; nil after the last.
    package init(
        name: String,
        contentType: String,
        bytes: Int64,
        sha256: String,
        next: @escaping @Sendable () async throws -> [UInt8]?
    ) {
        (self.name, self.contentType, self.bytes, self.sha256) = (name, contentType, bytes, sha256)
        let digest = ArtifactDigest()
        pieces = AsyncThrowingStream {
            if let piece = try await next() {
                digest.add(piece)
                return piece
            }
            let found = digest.finish()
            guard found.bytes == bytes, found.sha256.hex == sha256 else {
                throw MillraceError(
                    .damaged,
                    "The artifact \(name) is not what its checksum says.",
                    detail: "\(found.bytes) bytes with SHA-256 \(found.sha256.hex), not \(bytes) with \(sha256)."
                )
            }
            return nil
        }
    }

    /// Of an artifact that the database has, in parts.
    init(
        name: String,
        contentType: String,
        bytes: Int64,
        sha256: String,
        parts: Int32,
        read: @escaping @Sendable (Int32) async throws -> [UInt8]
    ) {
        let last = Mutex<Int32>(0)
        self.init(name: name, contentType: contentType, bytes: bytes, sha256: sha256) {
            let number = last.withLock { last in
                last += 1
                return last
            }
            return number <= parts ? try await read(number) : nil
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { pieces.makeAsyncIterator() }
}
