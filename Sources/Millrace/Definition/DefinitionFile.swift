import Foundation

/// How a file that holds a workflow is written.
public enum DefinitionFormat: String, Sendable, CaseIterable {
    /// Millrace's own language, as JSON or YAML.
    case millrace
    /// A recorded run in WfFormat.
    case wfformat
}

extension WorkflowDefinition {
    /// Reads a definition file: JSON or YAML, packed with gzip or not; or a recorded run in WfFormat.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - format: What it holds.
    ///   - timeScale: For WfFormat: what recorded runtimes are multiplied with. At 0 no step waits.
    /// - Throws: ``MillraceError`` that names the file and what is wrong with it.
    public static func load(
        _ path: String,
        format: DefinitionFormat = .millrace,
        timeScale: Double = 1
    ) throws(MillraceError) -> WorkflowDefinition {
        let bytes = try DefinitionFile.contents(of: path)
        do throws(MillraceError) {
            switch format {
            case .millrace where isJSON(path, bytes):
                return try WorkflowDefinition(utf8: Data(bytes))
            case .millrace:
                return try WorkflowDefinition(utf8: Data(YAML.json(String(decoding: bytes, as: UTF8.self))))
            case .wfformat:
                return try WfFormat(utf8: Data(bytes)).definition(timeScale: timeScale, fallbackName: stem(path))
            }
        } catch {
            var located = error
            located.message = "\(path): \(error.message)"
            throw located
        }
    }

    private static func isJSON(_ path: String, _ bytes: [UInt8]) -> Bool {
        let name = path.hasSuffix(".gz") ? String(path.dropLast(3)) : path
        if name.hasSuffix(".yaml") || name.hasSuffix(".yml") { return false }
        if name.hasSuffix(".json") { return true }
        return bytes.first { !($0 == 0x20 || (0x09...0x0d) ~= $0) } == UInt8(ascii: "{")
    }

    private static func stem(_ path: String) -> String {
        String((path as NSString).lastPathComponent.prefix { $0 != "." })
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
        do throws(MillraceError) {
            let unpacked = Gzip.isCompressed(bytes) ? try Gzip.decompress(bytes) : bytes
            guard String(validating: unpacked, as: UTF8.self) != nil else {
                throw MillraceError(.malformed, "The file is no UTF-8 text.")
            }
            return unpacked
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
