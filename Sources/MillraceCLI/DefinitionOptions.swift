import ArgumentParser
import Millrace

extension DefinitionFormat: ExpressibleByArgument {}

/// A file that holds a workflow.
struct DefinitionOptions: ParsableArguments {
    @Argument(help: "The definition: JSON or YAML, plain or packed with gzip.", completion: .file())
    var file: String

    @Option(help: "What the file holds: a definition of Millrace's, or a workflow that import takes.")
    var format = DefinitionFormat.millrace

    @OptionGroup(title: "Options for workflows of other languages") var importing: ImportOptionGroup

    /// The definitions that the file holds: the last one is what it is about, those before it are its sub-runs.
    func load() throws -> [WorkflowDefinition] {
        format == .millrace
            ? [try WorkflowDefinition.load(file)]
            : try ImportedDefinition.load(file, format: format, importing.options).definitions
    }

    /// None where the definition was made from something else.
    func places() throws -> DefinitionPlaces? {
        format == .millrace ? try DefinitionPlaces(file: file) : nil
    }
}
