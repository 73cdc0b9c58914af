import Glibc
import Millrace
import Synchronization
import SystemPackage

/// Writes events to standard output, one CloudEvent a line. A reader that is slow holds publishing up, and one that has
/// gone away ends it.
public final class OutputSink: EventSink {
    public let place = "standard output"
    private let writer: Mutex<CloudEventWriter>

    public init(source: String) {
        writer = Mutex(CloudEventWriter(source: source))
    }

    public func deliver(_ events: [Event]) async throws {
        let bytes = writer.withLock { writer in
            writer.removeAll()
            writer.lines(events)
            return writer.bytes
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            // A pipe that has room at all has room for this much: no thread is held up by who does not read.
            guard try Self.hasRoom() else {
                try await Task.sleep(for: .milliseconds(5))
                continue
            }
            do {
                rest = rest.dropFirst(try FileDescriptor.standardOutput.write(rest.prefix(Int(PIPE_BUF))))
            } catch {
                throw SinkError("Standard output cannot be written: \(error)", isRetriable: false)
            }
        }
    }

    private static func hasRoom() throws -> Bool {
        var output = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
        return poll(&output, 1, 0) > 0
    }
}

extension FileDescriptor {
    fileprivate func write(_ bytes: ArraySlice<UInt8>) throws -> Int {
        try bytes.withUnsafeBytes { try write($0) }
    }
}
