import Foundation

/// How a file that holds a workflow is written.
public enum DefinitionFormat: String, Sendable, CaseIterable {
    /// Millrace's own language, as JSON or YAML.
    case millrace
    /// A recorded run in WfFormat.
    case wfformat
    /// A workflow of GitHub Actions.
    case github
    /// A workflow, or a template of one, of Argo Workflows.
    case argo
    /// The `manifest.json` of dbt.
    case dbt
    /// What `ninja -t graph` prints.
    case ninja
    /// A directed graph in Graphviz' language.
    case dot
    /// A list of edges or steps, with commas or semicolons between fields.
    case csv
    /// The same with tabs.
    case tsv
}

extension ImportedDefinition {
    /// Brings in a file that is written in another language, packed with gzip or not.
    ///
    /// - Throws: ``MillraceError`` that names the file and all that is wrong with it or cannot be carried over.
    public static func load(
        _ path: String,
        format: DefinitionFormat,
        _ options: ImportOptions = ImportOptions()
    ) throws(MillraceError) -> ImportedDefinition {
        let file = ImportFile(path: path, bytes: try DefinitionFile.contents(of: path), format: format)
        return try DefinitionFile.located(path) { () throws(MillraceError) in try file.imported(options) }
    }
}

extension WorkflowDefinition {
    /// Reads a definition file: JSON or YAML, packed with gzip or not; or a workflow of another language.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - format: What it holds.
    ///   - timeScale: For other languages: what known durations are multiplied with. At 0 no step waits.
    /// - Throws: ``MillraceError`` that names the file and what is wrong with it.
    public static func load(
        _ path: String,
        format: DefinitionFormat = .millrace,
        timeScale: Double = 1
    ) throws(MillraceError) -> WorkflowDefinition {
        guard format == .millrace else {
            var options = ImportOptions()
            options.timeScale = timeScale
            return try ImportedDefinition.load(path, format: format, options).definition
        }
        let bytes = try DefinitionFile.contents(of: path)
        return try DefinitionFile.located(path) { () throws(MillraceError) in
            isJSON(path, bytes)
                ? try WorkflowDefinition(utf8: Data(bytes))
                : try WorkflowDefinition(utf8: Data(YAML.json(String(decoding: bytes, as: UTF8.self))))
        }
    }

    private static func isJSON(_ path: String, _ bytes: [UInt8]) -> Bool {
        let name = path.hasSuffix(".gz") ? String(path.dropLast(3)) : path
        if name.hasSuffix(".yaml") || name.hasSuffix(".yml") { return false }
        if name.hasSuffix(".json") { return true }
        return bytes.first { !($0 == 0x20 || (0x09...0x0d) ~= $0) } == UInt8(ascii: "{")
    }
}

enum DefinitionFile {
    /// The file's text, unpacked.
    static func contents(of path: String) throws(MillraceError) -> [UInt8] {
        let data: Data
        do {
            data = try Data(contentsOf: URL(filePath: path))
        } catch {
            throw MillraceError(.unreadable, "\(path): \(reason(path))")
        }
        let bytes = [UInt8](data)
        return try located(path) { () throws(MillraceError) in
            let unpacked = Gzip.isCompressed(bytes) ? try Gzip.decompress(bytes) : bytes
            guard String(validating: unpacked, as: UTF8.self) != nil else {
                throw MillraceError(.malformed, "The file is no UTF-8 text.")
            }
            return unpacked
        }
    }

    /// Says in an error which file it is about.
    static func located<Result>(_ path: String, _ body: () throws(MillraceError) -> Result)
        throws(MillraceError) -> Result
    {
        do throws(MillraceError) {
            return try body()
        } catch {
            var located = error
            located.message = "\(path): \(error.message)"
            throw located
        }
    }

    private static func reason(_ path: String) -> String {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            return "There is no such file."
        }
        return isDirectory.boolValue ? "This is a directory." : "The file cannot be read."
    }
}
