import ArgumentParser
import Millrace

struct Define: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a definition a version of its workflow.",
        discussion: "The same definition again gives the same version."
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var definition: DefinitionOptions

    @Flag(help: "Only say what is wrong with it, all at once.")
    var check = false

    private struct Problems: Encodable { var problems: [DefinitionProblem] }

    func run() async throws {
        let definition = try definition.load()
        try await options.withClient { client in
            if check {
                try Self.report(try await client.validate(definition), options.output)
            } else {
                let defined = try await client.define(definition)
                options.output.answer(
                    defined,
                    "\(defined.workflow) version \(defined.version): \(Spell.count(defined.steps, "step")), "
                        + Spell.count(defined.edges, "edge")
                )
            }
        }
    }

    private static func report(_ problems: [DefinitionProblem], _ output: Output) throws {
        let lines = problems.map { problem in
            let place = problem.path.isEmpty ? "" : "\(problem.path): "
            return place + problem.message + (problem.hint.map { "\n  Hint: \($0)" } ?? "")
        }
        output.answer(
            Problems(problems: problems),
            problems.isEmpty ? "Nothing is wrong." : lines.joined(separator: "\n")
        )
        if !problems.isEmpty { throw ExitStatus.usage }
    }
}
