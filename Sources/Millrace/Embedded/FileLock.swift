import Glibc

/// A lock between processes. The kernel lets go of it when its holder dies, so that nothing has to be cleaned up.
struct FileLock: Sendable {
    private let file: Int32

    /// Waits until the lock is ours.
    init(_ path: String) async throws(MillraceError) {
        // Closed on exec: a server that we start must not inherit the lock.
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw MillraceError(.embedded, "\(path) cannot be opened: \(String(cString: strerror(errno))).")
        }
        while flock(file, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR, !Task.isCancelled else {
                close(file)
                throw MillraceError(.embedded, "\(path) cannot be locked.")
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    func release() {
        close(file)
    }
}
