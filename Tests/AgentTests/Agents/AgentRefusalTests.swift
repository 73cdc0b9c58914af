import Millrace
import MillraceAgent
import MillraceTestSupport
import Postgres
import Testing

/// Agents that cannot begin say why.
@Suite struct AgentRefusalTests {
    @Test func aDatabaseThatIsDownIsNamed() async throws {
        let agent = Agent(database: PostgresConfiguration(host: "127.0.0.1", port: 1))
        let error = await #expect(throws: PostgresError.self) { try await agent.run() }
        #expect(error?.message.contains("127.0.0.1") == true)
    }

    @Test func aDatabaseWithoutTheExtensionIsRefused() async throws {
        try await PostgresCluster.with { cluster in
            let agent = Agent(database: try await cluster.createDatabase())
            let error = await #expect(throws: MillraceError.self) { try await agent.run() }
            #expect(error?.code == .notInstalled)
        }
    }

    @Test func anotherProtocolIsRefused() async throws {
        let fixture = try await AgentFixture(.plain)
        // As an extension of a later age would.
        try await fixture.psql(
            """
            CREATE OR REPLACE FUNCTION millrace.register_agent(
                queues text[], handlers text[], protocol integer DEFAULT 1, name text DEFAULT NULL, lease interval DEFAULT '10 s', listening boolean DEFAULT true)
            RETURNS TABLE (agent_id integer, agreed_protocol integer, lease_seconds double precision, channels text[], tier text) LANGUAGE plpgsql AS $$
            BEGIN PERFORM millrace_internal.fail('MR022', 'the agent speaks protocol ' || protocol, 'This extension speaks 7 to 9.', 'Upgrade the agent.'); END $$
            """
        )
        let error = await #expect(throws: MillraceError.self) { try await fixture.agent().run() }
        #expect(error?.code == .protocolNotSupported)
        #expect(error?.hint == "Upgrade the agent.")
    }

    @Test func anUnknownHandlerIsNamed() async throws {
        var configuration = AgentConfiguration()
        configuration.handlers = ["noop", "unheard"]
        let error = await #expect(throws: AgentConfigurationError.self) {
            try await Agent(configuration: configuration, database: PostgresConfiguration(host: "127.0.0.1")).run()
        }
        #expect(error?.message == "This agent has no handler \"unheard\". It has: http, noop, shell, sleep, sql.")
    }

    @Test func settingsThatCannotWorkAreNamed() async throws {
        var configuration = AgentConfiguration()
        configuration.pool.max = 2
        let error = await #expect(throws: AgentConfigurationError.self) {
            try await Agent(configuration: configuration, database: PostgresConfiguration(host: "127.0.0.1")).run()
        }
        #expect(error?.message.contains("pool.max") == true)
    }
}
