import Foundation
import Postgres

/// A database on a server for the length of something, gone afterwards.
enum ThrowawayDatabase {
    /// Makes a database that has the extension, and drops it when `body` has ended, however.
    static func with<Result: Sendable>(
        on server: PostgresConfiguration,
        _ body: (PostgresConfiguration) async throws -> Result
    ) async throws -> Result {
        let name = "millrace_test_\(UInt64.random(in: 0...(.max)))"
        var database = server
        database.parameters["dbname"] = name
        try await command("create database \(name) template template0 encoding 'UTF8'", on: server)
        let outcome: Swift.Result<Result, any Error>
        do {
            try await command("create extension millrace", on: database)
            outcome = .success(try await body(database))
        } catch {
            outcome = .failure(error)
        }
        // Even where the task has been cancelled meanwhile.
        _ = await Task.detached { try? await command("drop database if exists \(name) with (force)", on: server) }.value
        return try outcome.get()
    }

    private static func command(_ sql: String, on database: PostgresConfiguration) async throws(MillraceError) {
        do {
            try await Client.with(database, connections: 1) { client in
                // Not prepared: such commands are not to be.
                _ = try await client.pool.query(Statement(sql, prepared: false))
            }
        } catch let error as MillraceError {
            throw error
        } catch let error as PostgresError {
            throw MillraceError(error)
        } catch {
            throw MillraceError(.unexpectedAnswer, "\(error)")
        }
    }
}
