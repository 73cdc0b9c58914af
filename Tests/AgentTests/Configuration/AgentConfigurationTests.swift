import Configuration
import MillraceAgent
import Testing

@Suite struct AgentConfigurationTests {
    private func read(_ values: [AbsoluteConfigKey: ConfigValue]) throws -> AgentConfiguration {
        try AgentConfiguration(reader: ConfigReader(provider: InMemoryProvider(values: values)))
    }

    @Test func whatIsNotSetKeepsItsDefault() throws {
        let configuration = try read([:])
        #expect(configuration.queues == ["default"])
        #expect(configuration.handlers == nil)
        #expect(configuration.reports.batchSize == nil)
        #expect(configuration.lease == .seconds(10))
        #expect(configuration.pool.max == 20)
    }

    @Test func everyKindOfValueIsRead() throws {
        let configuration = try read([
            "agent.queues": .init(.stringArray(["default", "slow"]), isSecret: false),
            "agent.concurrency": 12,
            "agent.handlerConcurrency": .init(.stringArray(["shell:4", "http:64"]), isSecret: false),
            "agent.reports.flushDelay": "500ms",
            "agent.lease": "30",
            "agent.shutdown.gracePeriod": "5m",
        ])
        #expect(configuration.queues == ["default", "slow"])
        #expect(configuration.concurrency.total == 12)
        #expect(configuration.concurrency.perHandler == ["shell": 4, "http": 64])
        #expect(configuration.reports.flushDelay == .milliseconds(500))
        #expect(configuration.lease == .seconds(30))
        #expect(configuration.shutdown.gracePeriod == .seconds(300))
    }

    @Test func theEnvironmentIsRead() throws {
        let environment = EnvironmentVariablesProvider(environmentVariables: [
            "MILLRACE_AGENT_QUEUES": "a,b", "MILLRACE_AGENT_CLAIMS_LOOK_INTERVAL": "1s", "MILLRACE_AGENT_POOL_MAX": "7",
        ])
        let configuration = try AgentConfiguration(reader: ConfigReader(provider: environment).scoped(to: "millrace"))
        #expect(configuration.queues == ["a", "b"])
        #expect(configuration.claims.lookInterval == .seconds(1))
        #expect(configuration.pool.max == 7)
    }

    @Test(arguments: [
        ("agent.lease", "soon"), ("agent.lease", "-1s"), ("agent.handlerConcurrency", "shell"),
        ("agent.concurrency", "0"), ("agent.concurrency", "many"),
        ("agent.handlerConcurrency", "shell:0"), ("agent.reports.flights", "99"), ("agent.pool.max", "1"),
    ])
    func badValuesAreNamed(key: String, value: String) throws {
        let provider = EnvironmentVariablesProvider(environmentVariables: [
            // As the environment writes it.
            key.replacing(".", with: "_").replacing("handlerConcurrency", with: "HANDLER_CONCURRENCY").uppercased():
                value
        ])
        #expect(throws: AgentConfigurationError.self) {
            try AgentConfiguration(reader: ConfigReader(provider: provider))
        }
    }
}
