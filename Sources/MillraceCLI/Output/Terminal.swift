import Foundation
import Glibc

/// Where the program's words go: a terminal that a person looks at, or a pipe that a program reads.
struct Terminal: Sendable {
    enum Style: String, Sendable {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case blue = "34"
        case magenta = "35"
        case cyan = "36"
    }

    private let file: Int32
    /// Whether a person looks at it, so that a picture may move.
    let isInteractive: Bool
    private let hasColours: Bool

    static let output = Terminal(STDOUT_FILENO)
    static let error = Terminal(STDERR_FILENO)

    private init(_ file: Int32) {
        self.file = file
        let environment = ProcessInfo.processInfo.environment
        isInteractive = isatty(file) == 1 && environment["TERM"] != "dumb"
        hasColours = isInteractive && environment["NO_COLOR", default: ""].isEmpty
    }

    var columns: Int {
        var size = winsize()
        return ioctl(file, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    func print(_ text: String) {
        write(text + "\n")
    }

    /// Writes at once: what follows may take long, and a pipe's reader waits for lines.
    func write(_ text: String) {
        var rest = ArraySlice(text.utf8)
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            // A reader that has gone away (`millrace runs | head`) ends the program like any other in a pipe.
            if written < 0, errno == EPIPE { exit(ExitStatus.done.rawValue) }
            guard written > 0 || errno == EINTR || errno == EAGAIN else { return }
            rest = rest.dropFirst(max(written, 0))
        }
    }

    func style(_ text: String, _ styles: Style...) -> String {
        guard hasColours, !styles.isEmpty else { return text }
        return "\u{1b}[\(styles.map(\.rawValue).joined(separator: ";"))m\(text)\u{1b}[0m"
    }

    /// A state in its colour, wherever it stands.
    func state(_ state: String, padded width: Int = 0) -> String {
        let text = state.padding(toLength: max(width, state.count), withPad: " ", startingAt: 0)
        switch state {
        case "completed", "ok", "alive", "active": return style(text, .green)
        case "failed", "missing", "missed", "lost": return style(text, .red)
        case "running", "started": return style(text, .cyan)
        case "waiting", "paused", "warning": return style(text, .yellow)
        case "skipped", "cancelled", "pending": return style(text, .dim)
        default: return text
        }
    }
}
