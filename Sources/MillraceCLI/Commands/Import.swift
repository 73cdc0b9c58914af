import ArgumentParser
import Millrace

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring in a workflow that was recorded elsewhere.",
        discussion: """
            Tasks become steps that sleep as long as the task ran. Commands are other people's shell text and are left \
            behind.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "The recording: JSON, plain or packed with gzip.", completion: .file())
    var file: String

    @Option(help: "How it is written: wfformat.")
    var format: DefinitionFormat

    @Option(help: ArgumentHelp("What recorded runtimes are multiplied with; at 0 no step waits.", valueName: "factor"))
    var timeScale = 1.0

    @Flag(help: "Print the definition instead of storing it.")
    var print = false

    func run() async throws {
        let definition = try WorkflowDefinition.load(file, format: format, timeScale: timeScale)
        guard !print else { return Terminal.output.print(definition.json) }
        try await options.withClient { client in
            let defined = try await client.define(definition)
            options.output.answer(
                defined,
                "\(defined.workflow) version \(defined.version): \(Spell.count(defined.steps, "step")), "
                    + Spell.count(defined.edges, "edge")
            )
        }
    }
}
