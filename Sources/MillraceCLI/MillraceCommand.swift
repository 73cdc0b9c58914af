import ArgumentParser
import Millrace

/// Durable, dependency-ordered workflows inside PostgreSQL.
struct MillraceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "millrace",
        abstract: "Durable, dependency-ordered workflows inside PostgreSQL.",
        discussion: """
            The first thing to try: millrace run FILE.

            Exit codes: 0 done, 1 the run failed, 2 the command or what it asks for is wrong, \
            3 the database could not be reached.
            """,
        version: "millrace \(MillraceVersion.current)",
        groupedSubcommands: [
            CommandGroup(name: "Work", subcommands: [Run.self, Submit.self, Watch.self, AgentCommand.self]),
            CommandGroup(
                name: "Define",
                subcommands: [
                    Define.self, Validate.self, Schema.self, Import.self, Graph.self, Explain.self, Test.self,
                    Diff.self,
                ]
            ),
            CommandGroup(
                name: "Look",
                subcommands: [Status.self, Runs.self, Inbox.self, Logs.self, Artifacts.self, Events.self, Doctor.self]
            ),
            CommandGroup(
                name: "Steer",
                subcommands: [
                    Cancel.self, Pause.self, Resume.self, Retry.self, Resolve.self, Fork.self, AddSteps.self,
                    Migrate.self, Signal.self, Complete.self,
                ]
            ),
            CommandGroup(name: "The embedded database", subcommands: [Up.self, Down.self, Psql.self]),
            CommandGroup(name: "Measure", subcommands: [Bench.self]),
        ]
    )
}
