import ArgumentParser
import Foundation
import Millrace

/// What a run is started with.
struct InputOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The run's input; @FILE reads it from a file, @- from standard input.", valueName: "json")
    )
    var input: String?

    func value() throws -> JSONValue? {
        guard let input else { return nil }
        do {
            return try JSONValue(json: try text(input))
        } catch let error as MillraceError where error.code == .malformed {
            throw MillraceError(.malformed, "--input: \(error.message)", detail: error.detail)
        }
    }

    private func text(_ input: String) throws -> String {
        guard input.hasPrefix("@") else { return input }
        let path = String(input.dropFirst())
        let data =
            path == "-" ? FileHandle.standardInput.readDataToEndOfFile() : FileManager.default.contents(atPath: path)
        guard let data else { throw MillraceError(.unreadable, "--input: \(path) cannot be read.") }
        return String(decoding: data, as: UTF8.self)
    }
}
