import ArgumentParser
import Millrace

extension ImportHandler: ExpressibleByArgument {
    public init?(argument: String) {
        guard !argument.isEmpty else { return nil }
        self = ["sleep": .simulated, "shell": .shell][argument] ?? .named(argument)
    }

    public var defaultValueDescription: String {
        switch self {
        case .simulated: "sleep"
        case .shell: "shell"
        case .named(let name): name
        }
    }
}

/// How a workflow of another language is brought in.
struct ImportOptionGroup: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            What executes the steps. sleep: each sleeps as long as its task is known to take, or does nothing; shell: the \
            file's own commands are executed; or any other handler by its name.
            """,
            valueName: "handler"
        )
    )
    var handler = ImportHandler.simulated

    @Option(help: ArgumentHelp("What known durations are multiplied with; at 0 no step waits.", valueName: "factor"))
    var timeScale = 1.0

    @Option(help: ArgumentHelp("The workflow's name, in place of the file's.", valueName: "name"))
    var workflowName: String?

    @Option(
        help: ArgumentHelp("A part to leave out that cannot be carried over; may be repeated.", valueName: "part")
    )
    var leaveOut: [String] = []

    @Flag(help: "csv, tsv, dot: an arrow leads from a step to what it needs.")
    var reversed = false

    @Flag(help: "dbt: what builds on a tested node waits for its tests, as under dbt build.")
    var waitForTests = false

    var options: ImportOptions {
        var options = ImportOptions()
        options.handler = handler
        options.timeScale = timeScale
        options.name = workflowName
        options.leaveOut = Set(leaveOut)
        options.isReversed = reversed
        options.waitsForTests = waitForTests
        return options
    }
}
