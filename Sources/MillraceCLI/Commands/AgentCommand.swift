import ArgumentParser
import Configuration
import Logging
import Foundation
import Millrace
import MillraceAgent
import MillraceEvents
import ServiceLifecycle

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

    @Option(help: ArgumentHelp("Also publish the events of a subscription.", valueName: "subscription"))
    var publish: String?

    @Option(help: ArgumentHelp("Where to publish: http(s)://…, file:PATH, or - for standard output.", valueName: "place"))
    var publishTo: String?

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
        guard let publishing = try PublisherConfiguration(reader: reader) else { return try await agent.runService() }
        let publisher = Publishing(publisher: try publishing.publisher(database, logger: logger), logger: logger)
        try await ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: publisher, successTerminationBehavior: .ignore),
                    .init(service: agent, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        ).run()
    }

    /// A publisher that ends alone where its sink refuses events for good: work goes on.
    private struct Publishing: Service {
        let publisher: EventPublisher
        let logger: Logger

        func run() async throws {
            do {
                try await publisher.run()
            } catch {
                logger.error("Publishing has ended; the agent goes on.", metadata: ["error": "\(error)"])
            }
        }
    }

    private var flags: [AbsoluteConfigKey: ConfigValue] {
        var flags: [AbsoluteConfigKey: ConfigValue] = [:]
        func set(_ key: String, in scope: String = "agent", _ content: ConfigContent) {
            flags[AbsoluteConfigKey([scope, key])] = ConfigValue(content, isSecret: key == "to")
        }
        if !queues.isEmpty { set("queues", .stringArray(queues.flatMap(Self.names))) }
        if !handlers.isEmpty { set("handlers", .stringArray(handlers.flatMap(Self.names))) }
        if let concurrency { set("concurrency", .int(concurrency)) }
        if let name { set("name", .string(name)) }
        if let publish { set("subscription", in: "publish", .string(publish)) }
        if let publishTo { set("to", in: "publish", .string(publishTo)) }
        return flags
    }

    /// `--queues a,b` and `--queues a b` mean the same.
    private static func names(_ text: String) -> [String] {
        text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
