import ArgumentParser
import Millrace

struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow the log of events, and publish it.",
        discussion: "A subscription is a position in the log. Events are kept until each subscription has read them.",
        subcommands: [
            EventsTail.self, EventsPublish.self, EventsSubscribe.self, EventsUnsubscribe.self, EventsList.self,
        ],
        defaultSubcommand: EventsTail.self
    )
}

/// Which events, for those commands that show or publish them.
struct EventFilterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only events of a kind, such as step_failed. May be given again.", valueName: "kind"))
    var kind: [EventKind] = []

    @Option(help: "Only those of a workflow. May be given again.")
    var workflow: [String] = []

    @Option(help: "Only those of a tenant. May be given again.")
    var tenant: [String] = []

    var filter: EventFilter { EventFilter(kinds: Set(kind), workflows: Set(workflow), tenants: Set(tenant)) }
}

extension EventKind: ExpressibleByArgument {}

struct EventsSubscribe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "subscribe",
        abstract: "Begin a subscription.",
        discussion: "The same name again changes nothing, but takes note of a gap that retention has torn."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "The subscription's name.")
    var name: String

    @Option(help: ArgumentHelp("beginning, now, or a time.", valueName: "start"))
    var from = "now"

    private struct Answer: Encodable {
        var subscription: String
        var created: Bool
    }

    func run() async throws {
        try await options.withClient { client in
            let created = try await client.subscribe(name, from: EventStart(from))
            options.output.answer(
                Answer(subscription: name, created: created),
                created ? "Subscription \(name) begins at: \(from)." : "Subscription \(name) goes on where it was."
            )
        }
    }
}

struct EventsUnsubscribe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unsubscribe",
        abstract: "End a subscription; its position is forgotten."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "The subscription's name.")
    var name: String

    private struct Answer: Encodable { var subscription: String }

    func run() async throws {
        try await options.withClient { client in
            try await client.unsubscribe(name)
            options.output.answer(Answer(subscription: name), "Subscription \(name) has ended.")
        }
    }
}

struct EventsList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the subscriptions.")

    @OptionGroup var options: DatabaseOptions

    private struct Answer: Encodable { var subscriptions: [Subscription] }

    func run() async throws {
        try await options.withClient { client in
            let all = try await client.subscriptions()
            options.output.answer(
                Answer(subscriptions: all),
                all.isEmpty ? "No subscriptions." : Self.table(all).render(for: .output)
            )
        }
    }

    private static func table(_ subscriptions: [Subscription]) -> Table {
        Table(
            columns: [.text("NAME", limit: 40), .number("BEHIND"), .number("LAG"), .text("STORED"), .text("OVERTAKEN")],
            rows: subscriptions.map { one in
                [
                    one.name, Spell.count(Int(one.lagEvents)), Spell.seconds(one.lagSeconds), Spell.time(one.storedAt),
                    one.overtakenAt.map(Spell.time) ?? "-",
                ]
            }
        )
    }
}
