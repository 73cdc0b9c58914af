import Foundation
import Millrace
import MillraceAgent
import Postgres

/// Defines the workflows beside this file and executes those with handlers of their own.
///
/// ```
/// MILLRACE_DATABASE_URL="$(bin/millrace up)" swift run -c release DefinitionsExample &
/// bin/millrace submit quote --input '{"customer": "Ada", "pieces": 3}' --watch
/// ```
@main
struct Definitions {
    static func main() async throws {
        let database = try PostgresConfiguration(ProcessInfo.processInfo.environment["MILLRACE_DATABASE_URL"] ?? "")
        try await define(in: database)
        var agent = Agent(database: database)
        agent.registerQuotes()
        try await agent.runService()
    }

    nonisolated static func define(in database: PostgresConfiguration) async throws {
        try await Client.with(database) { client in
            for workflow in [order, quote] { _ = try await client.define(workflow) }
        }
    }
}
