import ArgumentParser
import Foundation
import Logging
import Millrace
import MillraceEvents
import ServiceLifecycle

struct EventsTail: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail",
        abstract: "Show events as they come, until told to stop.",
        discussion: """
            A line an event; with --json, or where nobody looks, one CloudEvent a line. It reads by a subscription of its \
            own, which it ends when it ends.
            """
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var events: EventFilterOptions

    @Option(help: ArgumentHelp("beginning, now, or a time.", valueName: "start"))
    var from = "now"

    @Option(help: ArgumentHelp("End after so many events.", valueName: "count"))
    var limit: Int?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
    }

    func run() async throws {
        let database = try options.configuration()
        let name = "tail \(ProcessInfo.processInfo.hostName):\(ProcessInfo.processInfo.processIdentifier)"
        try await options.withClient { client in
            try await client.subscribe(name, from: EventStart(from))
            var configuration = EventReader.Configuration()
            configuration.filter = events.filter
            let reader = EventReader(database, subscription: name, configuration: configuration)
            let sink = OutputSink(source: "/millrace/\(database.database ?? "")")
            let isReadable = !options.json && Terminal.output.isInteractive
            let tail = Tail(reader: reader, sink: isReadable ? nil : sink, limit: limit)
            let result: Result<Void, any Error>
            do {
                result = .success(try await tail.runUntilTold())
            } catch {
                result = .failure(error)
            }
            try await client.unsubscribe(name)
            try result.get()
        }
    }
}

/// Writes what a reader reads.
private struct Tail: Service {
    let reader: EventReader
    /// Nil where a person looks.
    let sink: OutputSink?
    let limit: Int?

    func runUntilTold() async throws {
        try await ServiceGroup(
            configuration: .init(
                services: [.init(service: self, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "millrace.events")
            )
        ).run()
    }

    func run() async throws {
        try await reader.run {
            var left = limit ?? .max
            for await batch in reader.batches {
                let events = batch.events.prefix(left)
                if let sink {
                    try await sink.deliver(Array(events))
                } else {
                    Terminal.output.print(events.map(Self.line).joined(separator: "\n"))
                }
                reader.delivered(batch)
                left -= events.count
                if left == 0 { return }
            }
        }
    }

    private static func line(_ event: Event) -> String {
        let terminal = Terminal.output
        let time = Date(timeIntervalSince1970: event.at.secondsSince1970)
        let (subject, state) = event.kind.hasPrefix("run_") ? ("run ", event.kind.dropFirst(4)) : ("step", event.kind.dropFirst(5))
        var line = "\(terminal.style(Spell.time(time), .dim))  \(subject) \(terminal.state(String(state), padded: 9))  "
        line += "\(event.workflow) \(event.runID)"
        if let key = event.key { line += " \(terminal.style(key, .bold))" }
        if let data = event.data { line += "  \(terminal.style(data, .dim))" }
        return line
    }
}
