import Millrace

/// A few lines at the bottom of a terminal that are drawn again and again.
struct Picture {
    private var height = 0
    private let terminal: Terminal

    init(_ terminal: Terminal) {
        self.terminal = terminal
    }

    mutating func draw(_ lines: [String]) {
        terminal.write(erasure + lines.map { $0 + "\n" }.joined())
        height = lines.count
    }

    mutating func erase() {
        terminal.write(erasure)
        height = 0
    }

    /// Back to the first line, and away with all below.
    private var erasure: String {
        height > 0 ? "\u{1b}[\(height)A\r\u{1b}[J" : ""
    }
}

/// How far a run is, as a bar.
struct ProgressBar {
    var width: Int

    /// Finished, running and other steps, in eighths of a character.
    func render(done: Double, running: Double, terminal: Terminal) -> String {
        let full = Int((min(max(done, 0), 1) * Double(width)).rounded(.down))
        let busy = min(width - full, Int((running * Double(width)).rounded(.up)))
        return terminal.style(String(repeating: "█", count: full), .green)
            + terminal.style(String(repeating: "▒", count: busy), .cyan)
            + terminal.style(String(repeating: "░", count: width - full - busy), .dim)
    }
}
