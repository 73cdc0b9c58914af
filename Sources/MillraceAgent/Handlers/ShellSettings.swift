import Subprocess

/// The settings of a `shell` step.
struct ShellSettings: Decodable {
    enum Command: Decodable {
        case program([String])
        case script(String)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let script = try? container.decode(String.self) {
                self = .script(script)
            } else if let program = try? container.decode([String].self) {
                self = .program(program)
            } else {
                throw DecodingError.dataCorruptedError(
                    in: container,
                    debugDescription: "a list of texts, or one text for /bin/sh, is expected"
                )
            }
        }

        /// The program and its arguments.
        func arguments() throws(HandlerError) -> [String] {
            let arguments =
                switch self {
                case .program(let arguments): arguments
                case .script(let script): ["/bin/sh", "-c", script]
                }
            guard let program = arguments.first, !program.isEmpty else {
                throw .fatal(
                    "shell: command is empty. Name a program, or give a text for /bin/sh.",
                    errorClass: "settings"
                )
            }
            guard !arguments.contains(where: { $0.utf8.contains(0) }) else {
                throw .fatal(
                    "shell: command has a NUL character, which no argument of a program can have.",
                    errorClass: "settings"
                )
            }
            return arguments
        }
    }

    var command: Command
    var directory: String?
    /// Added to the agent's own environment; null takes a variable away.
    var environment: [String: String?]
    var maxOutputBytes: Int?

    private enum CodingKeys: String, CodingKey {
        case command, directory, environment
        case maxOutputBytes = "max_output_bytes"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        command = try container.decode(Command.self, forKey: .command)
        directory = try container.decodeIfPresent(String.self, forKey: .directory)
        maxOutputBytes = try container.decodeIfPresent(Int.self, forKey: .maxOutputBytes)
        environment = try container.decodeIfPresent([String: String?].self, forKey: .environment) ?? [:]
    }

    func variables(artifacts: ArtifactDirectory?) throws(HandlerError) -> [Environment.Key: String?] {
        // An agent that is itself run by a step would hand on that step's directory.
        var variables: [Environment.Key: String?] = [:]
        if let key = Environment.Key(rawValue: ArtifactDirectory.variable) {
            variables[key] = .some(artifacts?.url.path)
        }
        for (name, value) in environment {
            guard !name.isEmpty, !name.utf8.contains(where: { $0 == 0 || $0 == UInt8(ascii: "=") }),
                value?.utf8.contains(0) != true, let key = Environment.Key(rawValue: name)
            else { throw .fatal("shell: \(name) cannot be an environment variable.", errorClass: "settings") }
            variables[key] = .some(value)
        }
        return variables
    }
}
