import Foundation
import Glibc

/// A process and its children on this machine, as the kernel accounts for them.
struct ProcessTree: Sendable {
    let root: Int

    static let own = ProcessTree(root: Int(getpid()))

    init(root: Int) { self.root = root }

    /// The server that a session of it belongs to; nil where it does not run on this machine.
    init?(sessionOfServer pid: Int) {
        guard let session = ProcessRecord(pid), session.name == "postgres", let server = ProcessRecord(session.parent),
            server.name == "postgres"
        else { return nil }
        root = session.parent
    }

    /// Processor time of all of them so far, that of children that have ended included.
    var cpuSeconds: Double {
        let all = [root] + children
        let ticks = all.compactMap { ProcessRecord($0)?.ticks }.reduce(0, +)
        return Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private var children: [Int] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { Int($0) }.filter { ProcessRecord($0)?.parent == root }
    }
}

/// What /proc says of a process.
package struct ProcessRecord {
    package let name: String
    package let parent: Int
    /// In user and kernel mode, and that of the children it has waited for.
    package let ticks: Int

    init?(_ pid: Int) {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return nil }
        self.init(stat: text)
    }

    /// `4711 (postgres) S 1 …`; the name may hold blanks and parentheses.
    package init?(stat: String) {
        guard let open = stat.firstIndex(of: "("), let close = stat.lastIndex(of: ")"), open < close else { return nil }
        name = String(stat[stat.index(after: open)..<close])
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        guard fields.count > 14, let parent = Int(fields[1]) else { return nil }
        self.parent = parent
        ticks = fields[11...14].compactMap { Int($0) }.reduce(0, +)
    }

    /// Resident memory in bytes, by its name in /proc/PID/status: `VmRSS` is all, `RssAnon` the process's own, without
    /// what it has touched of files and of memory that it shares with others.
    static func memory(_ pid: Int, _ field: String) -> Int? {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(field + ":") }
        return line.flatMap { Int($0.split(whereSeparator: \.isWhitespace)[1]) }.map { $0 * 1024 }
    }
}
