import ArgumentParser
import Configuration
import Logging
import Foundation
import Millrace
import MillraceAgent

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Execute steps until told to stop.",
        discussion: """
            On SIGTERM or SIGINT it takes no more steps, lets what runs finish within the grace period, and gives the rest \
            back. Settings come from flags, the environment (MILLRACE_AGENT_QUEUES and so on) and a file, in this order.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Option(parsing: .upToNextOption, help: "The queues to serve.")
    var queues: [String] = []

    @Option(parsing: .upToNextOption, help: "The handlers to serve; all in the box where left out.")
    var handlers: [String] = []

    @Option(help: "Steps in execution at once.")
    var concurrency: Int?

    @Option(help: "The name that millrace status shows.")
    var name: String?

    @Option(help: ArgumentHelp("A file with settings, in JSON.", valueName: "file"), completion: .file())
    var config: String?

    @Option(help: "trace, debug, info, notice, warning or error.")
    var logLevel = Logger.Level.info

    func run() async throws {
        let reader = try await Settings.reader(flags: flags, file: config)
        let configuration: AgentConfiguration
        do {
            configuration = try AgentConfiguration(reader: reader)
        } catch let error as AgentConfigurationError {
            throw MillraceError(.malformed, error.message)
        }
        let database = try options.configuration()
        try await Client.with(database, connections: 1) { try await $0.installation().check() }
        var logger = Logger(label: "millrace.agent")
        logger.logLevel = logLevel
        let agent = MillraceAgent.Agent(configuration: configuration, database: database, logger: logger)
        try await agent.runService()
    }

    private var flags: [AbsoluteConfigKey: ConfigValue] {
        var flags: [AbsoluteConfigKey: ConfigValue] = [:]
        func set(_ key: String, _ content: ConfigContent) {
            flags[AbsoluteConfigKey(["agent", key])] = ConfigValue(content, isSecret: false)
        }
        if !queues.isEmpty { set("queues", .stringArray(queues.flatMap(Self.names))) }
        if !handlers.isEmpty { set("handlers", .stringArray(handlers.flatMap(Self.names))) }
        if let concurrency { set("concurrency", .int(concurrency)) }
        if let name { set("name", .string(name)) }
        return flags
    }

    /// `--queues a,b` and `--queues a b` mean the same.
    private static func names(_ text: String) -> [String] {
        text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
