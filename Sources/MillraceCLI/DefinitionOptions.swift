import ArgumentParser
import Millrace

extension DefinitionFormat: ExpressibleByArgument {}

/// A file that holds a workflow.
struct DefinitionOptions: ParsableArguments {
    @Argument(help: "The definition: JSON or YAML, plain or packed with gzip.", completion: .file())
    var file: String

    @Option(help: "What the file holds: millrace, or wfformat for a recorded run in WfFormat 1.5.")
    var format = DefinitionFormat.millrace

    @Option(
        help: ArgumentHelp(
            "For wfformat: what recorded runtimes are multiplied with; at 0 no step waits.",
            valueName: "factor"
        )
    )
    var timeScale = 1.0

    func load() throws -> WorkflowDefinition {
        try WorkflowDefinition.load(file, format: format, timeScale: timeScale)
    }

    /// None where the definition was made from something else.
    func places() throws -> DefinitionPlaces? {
        format == .millrace ? try DefinitionPlaces(file: file) : nil
    }
}
