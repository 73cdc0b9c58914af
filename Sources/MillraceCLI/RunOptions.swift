import ArgumentParser

/// The one run that a command is about, and its database.
struct RunOptions: ParsableArguments {
    @OptionGroup var options: DatabaseOptions

    @Argument(help: ArgumentHelp("The run's id.", valueName: "run"))
    var runID: Int64
}

/// A command about one run.
protocol RunCommand: AsyncParsableCommand {
    var subject: RunOptions { get }
}

extension RunCommand {
    var options: DatabaseOptions { subject.options }
    var runID: Int64 { subject.runID }
}
