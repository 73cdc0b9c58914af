import ArgumentParser
import Millrace

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring in a workflow that is written in another language, or was recorded elsewhere.",
        discussion: """
            Formats: wfformat (WfCommons), github (GitHub Actions), argo (Argo Workflows), dbt (manifest.json), ninja (what \
            ninja -t graph prints), dot, csv, tsv. The graph is carried over, with conditions, retries and times; commands are \
            other people's text and stay behind unless --handler shell asks for them. What cannot be carried over is refused, \
            all of it by name.
            """
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(help: "The file, plain or packed with gzip.", completion: .file())
    var file: String

    @Option(help: "What it holds.")
    var format: DefinitionFormat

    @OptionGroup var importing: ImportOptionGroup

    @Flag(help: "Print the definition instead of storing it.")
    var print = false

    private struct Answer: Encodable {
        var workflow: String
        var version: Int
        var versionId: Int
        var steps: Int
        var edges: Int
        var leftBehind: [ImportFinding]
        var input: JSONValue?
        /// Workflows whose runs are its steps.
        var children: [DefinedWorkflow]
    }

    func validate() throws {
        guard format != .millrace else {
            throw ValidationError("A definition of Millrace's need not be imported: millrace define \(file).")
        }
    }

    func run() async throws {
        let imported = try ImportedDefinition.load(file, format: format, importing.options)
        for finding in imported.leftBehind { Terminal.error.print("left behind: \(finding.description)") }
        guard !print else {
            for definition in imported.definitions { Terminal.output.print(definition.json) }
            return
        }
        try await options.withClient { client in
            let all = try await client.define(imported.definitions)
            let defined = all.last!
            options.output.answer(
                Answer(
                    workflow: defined.workflow,
                    version: defined.version,
                    versionId: defined.versionId,
                    steps: defined.steps,
                    edges: defined.edges,
                    leftBehind: imported.leftBehind,
                    input: imported.input,
                    children: all.dropLast()
                ),
                all.map(Self.text).joined(separator: "\n")
                    + (imported.input.map { "\nIts own values for a run: --input '\($0.json)'" } ?? "")
            )
        }
    }

    private static func text(_ defined: DefinedWorkflow) -> String {
        "\(defined.workflow) version \(defined.version): \(Spell.count(defined.steps, "step")), "
            + Spell.count(defined.edges, "edge")
    }
}
