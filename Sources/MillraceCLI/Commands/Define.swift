import ArgumentParser
import Millrace

struct Define: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a definition a version of its workflow.",
        discussion: "The same definition again gives the same version."
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var definition: DefinitionOptions

    func run() async throws {
        let definitions = try definition.load()
        try await options.withClient { client in
            let defined = try await client.define(definitions).last!
            options.output.answer(
                defined,
                "\(defined.workflow) version \(defined.version): \(Spell.count(defined.steps, "step")), "
                    + Spell.count(defined.edges, "edge")
            )
        }
    }
}
