/// Rows under headings, columns as wide as they must be.
struct Table {
    struct Column {
        var title: String
        var isNumber = false
        /// Longer texts are cut.
        var limit = 60
        var isState = false

        static func text(_ title: String, limit: Int = 60) -> Column { Column(title: title, limit: limit) }
        static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
        static func state(_ title: String) -> Column { Column(title: title, isState: true) }
    }

    var columns: [Column]
    var rows: [[String]] = []

    func render(for terminal: Terminal) -> String {
        let cells = rows.map { row in zip(row, columns).map { cut($0, $1.limit) } }
        let widths = columns.indices.map { index in
            max(columns[index].title.count, cells.map { $0[index].count }.max() ?? 0)
        }
        let head = terminal.style(line(columns.map(\.title), widths, style: nil), .bold)
        let body = cells.map { line($0, widths, style: terminal) }
        return ([head] + body).joined(separator: "\n")
    }

    private func line(_ cells: [String], _ widths: [Int], style: Terminal?) -> String {
        var line = ""
        for (index, cell) in cells.enumerated() {
            let space = String(repeating: " ", count: widths[index] - cell.count)
            let shown = columns[index].isState ? style?.state(cell) ?? cell : cell
            line += (index > 0 ? "  " : "") + (columns[index].isNumber ? space + shown : shown + space)
        }
        while line.last == " " { line.removeLast() }
        return line
    }

    private func cut(_ text: String, _ limit: Int) -> String {
        let line = text.prefix { !$0.isNewline }
        return line.count > limit ? line.prefix(limit - 1) + "…" : String(line)
    }
}
