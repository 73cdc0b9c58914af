import CLibpq

/// Where the database is and how to enter it.
///
/// What is not said here comes from libpq's environment (`PGHOST`, `PGPASSWORD`, …), its service and password files,
/// and its defaults.
public struct PostgresConfiguration: Sendable, Hashable {
    /// libpq's connection parameters: `host`, `port`, `dbname`, `user`, `password`, `sslmode`, …
    public var parameters: [String: String]

    /// Server settings of each session, such as `search_path`.
    public var settings: [String: String] = [:]

    /// How long connecting may take in all, name resolution included. `connect_timeout` of the text, or 10 s.
    public var connectTimeout: Duration

    /// Reads a URL (`postgresql://user@host:port/database?sslmode=require`) or key/value text as libpq does.
    public init(_ conninfo: String = "") throws(PostgresError) {
        var problem: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(conninfo, &problem) else {
            defer { PQfreemem(problem) }
            throw Self.malformed(conninfo, problem.map { String(cString: $0) })
        }
        defer { PQconninfoFree(options) }
        let parameters = Self.values(of: options)
        let seconds = parameters["connect_timeout"].flatMap { Int($0) } ?? 0
        self.init(parameters: parameters, connectTimeout: seconds > 0 ? .seconds(seconds) : .seconds(10))
    }

    public init(
        host: String,
        port: Int = 5432,
        user: String? = nil,
        password: String? = nil,
        database: String? = nil
    ) {
        var parameters = ["host": host, "port": String(port)]
        parameters["user"] = user
        parameters["password"] = password
        parameters["dbname"] = database
        self.init(parameters: parameters, connectTimeout: .seconds(10))
    }

    private init(parameters: [String: String], connectTimeout: Duration) {
        self.parameters = parameters
        self.connectTimeout = connectTimeout
    }

    /// The name by which the server's views and logs know the sessions.
    public var applicationName: String? {
        get { parameters["application_name"] }
        set { parameters["application_name"] = newValue }
    }

    public var host: String? { effective("host") }
    public var port: Int? { effective("port").flatMap { Int($0) } }
    public var user: String? { effective("user") }
    public var database: String? { effective("dbname") ?? user }

    /// The parameter, or what libpq takes for it.
    private func effective(_ name: String) -> String? {
        if let value = parameters[name], !value.isEmpty { return value }
        guard let options = PQconndefaults() else { return nil }
        defer { PQconninfoFree(options) }
        return Self.values(of: options)[name]
    }

    private static func values(of options: UnsafeMutablePointer<PQconninfoOption>) -> [String: String] {
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return values
    }

    /// libpq quotes the text it stumbles over, which may be the password: then it is left out.
    private static func malformed(_ conninfo: String, _ problem: String?) -> PostgresError {
        let mayHoldPassword = conninfo.contains("pass") || conninfo.contains("@")
        return PostgresError(
            .invalidConfiguration,
            "The connection string of the database cannot be understood.",
            detail: mayHoldPassword ? nil : problem?.trimmed,
            hint: "Write a URL, postgresql://user:password@host:port/database, or key=value pairs; "
                + "characters such as @ : / % in a password are percent-encoded in a URL."
        )
    }
}

extension PostgresConfiguration: CustomStringConvertible {
    /// The place without the secrets.
    public var description: String {
        "\(user ?? "")@\(host ?? "localhost"):\(port ?? 5432)/\(database ?? "")"
    }
}

extension PostgresConfiguration: CustomReflectable {
    /// Keeps passwords out of dumps as well.
    public var customMirror: Mirror { Mirror(self, children: ["database": description]) }
}

extension PostgresConfiguration {
    /// What is handed to libpq: the parameters over defaults that let a dead peer be noticed within a minute.
    var connectionParameters: [String: String] {
        var result = parameters
        for (name, value) in Self.keepAlive where result[name] == nil { result[name] = value }
        if result["application_name"] == nil { result["fallback_application_name"] = "millrace" }
        result["client_encoding"] = "UTF8"
        // The deadline is kept by the caller; libpq's own covers one host at a time.
        result["connect_timeout"] = nil
        if !settings.isEmpty {
            let text = settings.sorted { $0.key < $1.key }
                .map { "-c " + "\($0.key)=\($0.value)".escapingForOptions }
                .joined(separator: " ")
            result["options"] = [result["options"], text].compactMap { $0 }.joined(separator: " ")
        }
        return result
    }

    private static let keepAlive = [
        "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000",
    ]
}

extension String {
    /// Blanks and backslashes separate options unless a backslash stands before them.
    fileprivate var escapingForOptions: String {
        reduce(into: "") { text, character in
            if character == "\\" || character.isWhitespace { text.append("\\") }
            text.append(character)
        }
    }

    /// Without the line ends that libpq puts after its messages.
    var trimmed: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
