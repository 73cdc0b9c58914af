import Foundation
import Glibc

/// The running server of a data directory, known by the process id that it wrote there.
struct Postmaster: Sendable {
    let processID: pid_t

    /// The server that runs on a data directory; nil where none does, even if a process id was left behind.
    static func running(on data: String) -> Postmaster? {
        guard let processID = recordedProcessID("\(data)/postmaster.pid"), isServer(processID, of: data) else {
            return nil
        }
        return Postmaster(processID: processID)
    }

    /// Removes lock files that a killed server left behind and whose process id now belongs to another program or to
    /// nobody's zombie. The server does this itself for a process that is gone, but takes any other for its predecessor.
    ///
    /// - Returns: Whether a server may be started: sessions of the old one may still be at work on its files.
    static func removeStaleLocks(_ locks: [String], of data: String) -> Bool {
        guard !isAnyoneIn(data) else { return false }
        for lock in locks {
            if let processID = recordedProcessID(lock), kill(processID, 0) == 0 || errno == EPERM { unlink(lock) }
        }
        return true
    }

    /// Asks the server to end its sessions and stop, and waits until it has gone.
    func stop(data: String) async throws(MillraceError) {
        for (signal, patience) in [(SIGINT, Duration.seconds(60)), (SIGQUIT, .seconds(20))] {
            kill(processID, signal)
            let deadline = ContinuousClock.now + patience
            while ContinuousClock.now < deadline {
                guard Self.isServer(processID, of: data) else { return }
                try? await Task.sleep(for: .milliseconds(20))
            }
        }
        throw MillraceError(.embedded, "The server (process \(processID)) does not stop.")
    }

    private static func recordedProcessID(_ lock: String) -> pid_t? {
        guard let text = try? String(contentsOfFile: lock, encoding: .utf8) else { return nil }
        return text.split(separator: "\n").first.flatMap { pid_t($0) }.map(abs)
    }

    /// A server stands in its data directory for as long as it lives; a process id that was given to another program
    /// does not.
    private static func isServer(_ processID: pid_t, of data: String) -> Bool {
        guard let place = destination("/proc/\(processID)/cwd"), let directory = resolved(data) else { return false }
        return place == directory
    }

    private static func isAnyoneIn(_ data: String) -> Bool {
        guard let directory = resolved(data) else { return false }
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.contains { pid_t($0) != nil && destination("/proc/\($0)/cwd") == directory }
    }

    private static func destination(_ link: String) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: link)
    }

    private static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
