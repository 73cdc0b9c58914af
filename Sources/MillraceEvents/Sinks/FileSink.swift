import Foundation
import Glibc
import Millrace
import Synchronization
import SystemPackage

/// Appends events to a file, one CloudEvent a line, on disk before a position is stored.
///
/// A last line that a crash has left unfinished is cut off when the file is opened; its event comes again. One sink at a
/// time has the file.
public final class FileSink: EventSink {
    public let place: String
    private let file: FileDescriptor
    private let state: Mutex<State>

    private struct State {
        var writer: CloudEventWriter
        /// How much of the file is whole lines.
        var length: Int64
    }

    /// - Throws: ``SinkError`` where the file cannot be opened or somebody else has it.
    public init(path: String, source: String) throws {
        place = path
        do {
            file = try FileDescriptor.open(
                FilePath(path), .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite, .groupRead]
            )
        } catch {
            throw SinkError("\(path) cannot be opened: \(error)", isRetriable: false)
        }
        guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            try? file.close()
            throw SinkError("\(path) is being written by another publisher.", isRetriable: false)
        }
        do {
            let length = try Self.wholeLines(of: file)
            if try file.seek(offset: 0, from: .end) > length { try Self.truncate(file, to: length) }
            state = Mutex(State(writer: CloudEventWriter(source: source), length: length))
        } catch {
            try? file.close()
            throw SinkError("\(path) cannot be read and cut after its last whole line: \(error)", isRetriable: false)
        }
    }

    public func deliver(_ events: [Event]) async throws {
        try state.withLock { state in
            state.writer.removeAll()
            state.writer.lines(events)
            do {
                try file.writeAll(toAbsoluteOffset: state.length, state.writer.bytes)
            } catch {
                // A full disk, say. What was written of it is cut off, or written over.
                try? Self.truncate(file, to: state.length)
                throw SinkError("\(place) cannot be written: \(error)", isRetriable: true)
            }
            state.length += Int64(state.writer.bytes.count)
        }
    }

    public func flush() async throws {
        guard fdatasync(file.rawValue) == 0 else {
            // The kernel may have dropped what it could not write: nothing that was delivered counts any more.
            throw SinkError("\(place) is not safe on disk: \(Errno(rawValue: errno))", isRetriable: false)
        }
    }

    public func close() async {
        try? file.close()
    }

    /// The offset behind the last line end.
    private static func wholeLines(of file: FileDescriptor) throws -> Int64 {
        var end = try file.seek(offset: 0, from: .end)
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while end > 0 {
            let start = max(0, end - Int64(chunk.count))
            let count = try chunk.withUnsafeMutableBytes { buffer in
                try file.read(fromAbsoluteOffset: start, into: .init(rebasing: buffer.prefix(Int(end - start))))
            }
            guard count > 0 else { break }
            if let last = chunk.prefix(count).lastIndex(of: UInt8(ascii: "\n")) { return start + Int64(last) + 1 }
            end = start
        }
        return 0
    }

    private static func truncate(_ file: FileDescriptor, to length: Int64) throws {
        guard ftruncate(file.rawValue, Int(length)) == 0 else { throw Errno(rawValue: errno) }
    }
}
