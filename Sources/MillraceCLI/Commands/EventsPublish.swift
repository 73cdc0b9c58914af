import ArgumentParser
import Configuration
import Logging
import Millrace
import MillraceEvents
import ServiceLifecycle

struct EventsPublish: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Deliver a subscription's events until told to stop.",
        discussion: """
            At least once, in the order of each run. An HTTP endpoint receives CloudEvents 1.0 batches, a file or standard \
            output one CloudEvent a line. Settings come from flags, the environment (MILLRACE_PUBLISH_TO, \
            MILLRACE_PUBLISH_AUTHORIZATION and so on) and a file, in this order.
            """
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var events: EventFilterOptions

    @Argument(help: "The subscription's name.")
    var name: String

    @Option(help: ArgumentHelp("Where to: http(s)://…, file:PATH, or - for standard output.", valueName: "place"))
    var to: String?

    @Option(help: ArgumentHelp("Begin the subscription there if it is new: beginning, now, or a time.", valueName: "start"))
    var from: String?

    @Option(help: "The most events of a batch.")
    var batch: Int?

    @Option(help: ArgumentHelp("How long an event may wait for others: 2ms.", valueName: "duration"))
    var flush: String?

    @Option(help: ArgumentHelp("A file with headers for the endpoint, Name: value.", valueName: "file"), completion: .file())
    var headerFile: String?

    @Option(help: ArgumentHelp("The CloudEvents attribute source.", valueName: "uri"))
    var source: String?

    @Flag(help: "Do not pack what is sent with gzip.")
    var noCompression = false

    @Option(help: ArgumentHelp("A file with settings, in JSON.", valueName: "file"), completion: .file())
    var config: String?

    @Option(help: "trace, debug, info, notice, warning or error.")
    var logLevel = Logger.Level.info

    func run() async throws {
        let reader = try await Settings.reader(flags: flags, file: config)
        guard let configuration = try PublisherConfiguration(reader: reader) else { return }
        let database = try options.configuration()
        try await Client.with(database, connections: 1) { try await $0.installation().check() }
        var logger = Logger(label: "millrace.events")
        logger.logLevel = logLevel
        try await ServiceGroup(
            configuration: .init(
                services: [
                    .init(
                        service: try configuration.publisher(database, logger: logger),
                        successTerminationBehavior: .gracefullyShutdownGroup
                    )
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        ).run()
    }

    private var flags: [AbsoluteConfigKey: ConfigValue] {
        var flags: [AbsoluteConfigKey: ConfigValue] = [:]
        func set(_ key: String, _ content: ConfigContent?) {
            guard let content else { return }
            flags[AbsoluteConfigKey(["publish", key])] = ConfigValue(content, isSecret: key == "to")
        }
        func list(_ texts: [String]) -> ConfigContent? { texts.isEmpty ? nil : .stringArray(texts) }
        set("subscription", .string(name))
        set("to", to.map { .string($0) })
        set("from", from.map { .string($0) })
        set("batchSize", batch.map { .int($0) })
        set("flushDelay", flush.map { .string($0) })
        set("headerFile", headerFile.map { .string($0) })
        set("source", source.map { .string($0) })
        set("compress", noCompression ? .bool(false) : nil)
        set("kinds", list(events.kind.map(\.rawValue)))
        set("workflows", list(events.workflow))
        set("tenants", list(events.tenant))
        return flags
    }
}
