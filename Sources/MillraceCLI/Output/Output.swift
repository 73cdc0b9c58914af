import Foundation

/// What a command says: to a person on standard output, or with `--json` one object on its last line, all else on
/// standard error.
struct Output: Sendable {
    let isJSON: Bool

    /// Where people's words go.
    var terminal: Terminal { isJSON ? .error : .output }

    func say(_ text: String) {
        terminal.print(text)
    }

    /// The command's answer: `text` for people, `object` for programs.
    func answer(_ object: some Encodable, _ text: @autoclosure () -> String) {
        guard isJSON else { return terminal.print(text()) }
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Nothing that is encoded here can fail: no infinities, no cycles.
        let line = (try? encoder.encode(object)) ?? Data("{}".utf8)
        Terminal.output.print(String(decoding: line, as: UTF8.self))
    }
}
