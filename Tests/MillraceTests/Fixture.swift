import Foundation

/// Files that tests write and read.
enum Fixture {
    /// Writes a file of that name into a directory of its own and hands on its path.
    static func withFile<Result>(_ name: String, _ bytes: Data, _ body: (String) throws -> Result) throws -> Result {
        let directory = FileManager.default.temporaryDirectory.appending(path: "millrace-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appending(path: name)
        try bytes.write(to: file)
        return try body(file.path(percentEncoded: false))
    }

    static func withFile<Result>(_ name: String, _ text: String, _ body: (String) throws -> Result) throws -> Result {
        try withFile(name, Data(text.utf8), body)
    }

    /// The recorded workflows that lie beside the project, where they do.
    static let recorded: [String] = {
        let directory = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../shared/workflows").standardizedFileURL
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.path(percentEncoded: false))) ?? []
        return names.sorted().filter { ($0.hasSuffix(".json") || $0.hasSuffix(".json.gz")) && $0 != "figures.json" }
            .map { directory.appending(path: $0).path(percentEncoded: false) }
    }()

    /// What is known of a recorded workflow.
    struct Figures: Decodable {
        var file: String
        var tasks: Int
        var edges: Int
        var depth: Int
    }
}
