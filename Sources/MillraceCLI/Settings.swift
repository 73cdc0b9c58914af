import Configuration
import Foundation
import Millrace
import SystemPackage

/// The one place where settings come from: flags before the environment (`MILLRACE_AGENT_QUEUES`) before a file
/// (`{"agent": {"queues": …}}`).
enum Settings {
    static let environment = ConfigReader(provider: EnvironmentVariablesProvider().prefixKeys(with: "millrace"))

    /// - Parameters:
    ///   - flags: What the command line says, by key.
    ///   - file: A JSON file, where one is named.
    static func reader(flags: [AbsoluteConfigKey: ConfigValue], file: String?) async throws -> ConfigReader {
        var providers: [any ConfigProvider] = [
            InMemoryProvider(name: "flags", values: flags), EnvironmentVariablesProvider().prefixKeys(with: "millrace"),
        ]
        if let file {
            guard FileManager.default.isReadableFile(atPath: file) else {
                throw MillraceError(.unreadable, "\(file): The configuration cannot be read.")
            }
            do {
                providers.append(try await FileProvider<JSONSnapshot>(filePath: FilePath(file)))
            } catch {
                throw MillraceError(.malformed, "\(file): This is no configuration in JSON.", detail: "\(error)")
            }
        }
        return ConfigReader(providers: providers)
    }
}
