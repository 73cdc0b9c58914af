import ArgumentParser
import Millrace

struct Schema: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the JSON Schema of definitions, for editors.",
        discussion: """
            millrace schema > definition.schema.json; then, in the first line of a definition in YAML: \
            # yaml-language-server: $schema=definition.schema.json
            """
    )

    func run() async throws {
        Terminal.output.write(DefinitionSchema.json)
    }
}
