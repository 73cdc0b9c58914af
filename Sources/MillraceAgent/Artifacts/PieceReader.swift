import SystemPackage

/// Bytes that come in chunks of any size, in pieces of one size, but for the last. A piece is what one call to the
/// database carries.
///
/// Sendable without a lock, because there is one reader at a time: whoever takes over from another one does so after
/// the other's last call has returned.
final class PieceReader<Chunks: AsyncSequence & SendableMetatype>: @unchecked Sendable
where Chunks.Element: Sequence<UInt8> {
    private let size: Int
    /// Nil when they have come to their end.
    private var chunks: Chunks.AsyncIterator?
    /// What has come and not gone, from `start` on.
    private var held: [UInt8] = []
    private var start = 0

    init(_ chunks: Chunks, size: Int = 256 << 10) {
        self.chunks = chunks.makeAsyncIterator()
        self.size = size
    }

    /// - Returns: nil after the last piece.
    func next() async throws -> [UInt8]? {
        while held.count - start < size, chunks != nil {
            if start > 0 {
                held.removeFirst(start)
                start = 0
            }
            if let chunk = try await chunks?.next() { held.append(contentsOf: chunk) } else { chunks = nil }
        }
        let end = min(start + size, held.count)
        defer { start = end }
        return start < end ? Array(held[start..<end]) : nil
    }
}

/// What a file holds.
struct FileChunks: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    let path: FilePath
    var size = 256 << 10

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(path: path, size: size) }

    struct AsyncIterator: AsyncIteratorProtocol {
        /// Open as long as somebody reads.
        private final class Opened {
            let file: FileDescriptor

            init(_ path: FilePath) throws { file = try .open(path, .readOnly, options: .closeOnExec) }

            deinit { try? file.close() }
        }

        private let path: FilePath
        private let size: Int
        private var opened: Opened?

        init(path: FilePath, size: Int) { (self.path, self.size) = (path, size) }

        mutating func next() async throws -> [UInt8]? {
            let opened = try opened ?? Opened(path)
            self.opened = opened
            let bytes = try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                count = try opened.file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            return bytes.isEmpty ? nil : bytes
        }
    }
}
