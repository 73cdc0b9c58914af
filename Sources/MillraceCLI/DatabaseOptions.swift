import ArgumentParser
import Configuration
import Millrace
import Postgres

/// Which database a command talks to, and how it answers.
struct DatabaseOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The database; else MILLRACE_DATABASE_URL, else the embedded one if it is up.",
            valueName: "url"
        )
    )
    var database: String?

    @Flag(help: "Answer with one JSON object on the last line.")
    var json = false

    var output: Output { Output(isJSON: json) }

    /// Runs `body` with a client of a database that has a millrace that fits.
    func withClient<Result>(connections: Int = 4, _ body: (Client) async throws -> Result) async throws -> Result {
        try await Client.with(configuration(), connections: connections) { client in
            try await client.installation().check()
            return try await body(client)
        }
    }

    /// - Throws: ``MillraceError`` where there is no database to talk to.
    func configuration() throws -> PostgresConfiguration {
        guard let url = try named ?? EmbeddedDatabase().address?.url else {
            throw MillraceError(
                .unreachable,
                "There is no database to talk to.",
                hint: "Start the embedded one with millrace up, or name one with --database or MILLRACE_DATABASE_URL."
            )
        }
        return try Self.configuration(url)
    }

    /// The same, but starts the embedded database where no other is named.
    func configurationStartingEmbedded() async throws -> PostgresConfiguration {
        if let named { return try Self.configuration(named) }
        let embedded = try EmbeddedDatabase()
        let wasUp = embedded.address != nil
        // Even so: somebody else may be starting it at this moment.
        let address = try await embedded.up { output.say($0) }
        if !wasUp { output.say("The embedded database is up. It stays up; millrace down stops it.") }
        return try Self.configuration(address.url)
    }

    /// The database that a flag or the environment names.
    var named: String? {
        (database ?? Settings.environment.string(forKey: "database.url")).flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func configuration(_ url: String) throws -> PostgresConfiguration {
        do throws(PostgresError) {
            return try PostgresConfiguration(url)
        } catch {
            throw MillraceError(
                .malformed,
                "The database cannot be read from its URL: \(error.message)",
                hint: "Write postgresql://user@host:port/database, or keywords as libpq reads them."
            )
        }
    }
}
