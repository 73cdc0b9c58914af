/// Bytes as they come, as lines.
struct LineSplitter {
    /// A line without an end is cut here.
    static let maxBytes = 32_000

    private var rest: [UInt8] = []

    /// - Returns: the lines that are whole now, without their ends.
    mutating func take(_ bytes: UnsafeRawBufferPointer) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                lines.append(end())
            } else {
                rest.append(byte)
                if rest.count >= Self.maxBytes { lines.append(end()) }
            }
        }
        return lines
    }

    /// - Returns: what is left, where the last line has no end.
    mutating func finish() -> String? { rest.isEmpty ? nil : end() }

    private mutating func end() -> String {
        defer { rest.removeAll(keepingCapacity: true) }
        if rest.last == UInt8(ascii: "\r") { rest.removeLast() }
        return JSONText.repaired(rest)
    }
}
