import ArgumentParser
import Millrace

struct Validate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say all that is wrong with a definition, each with its line and column.",
        discussion: "Defines nothing. Ends with 2 where something is wrong."
    )

    @OptionGroup var options: DatabaseOptions
    @OptionGroup var definition: DefinitionOptions

    /// A mistake, and where the file has it.
    private struct Finding: Encodable {
        var path: String
        var code: String
        var message: String
        var hint: String?
        var line: Int?
        var column: Int?

        init(_ problem: DefinitionProblem, at place: DefinitionPlaces.Place?) {
            (path, code, message, hint) = (problem.path, problem.code, problem.message, problem.hint)
            (line, column) = (place?.line, place?.column)
        }

        func text(file: String) -> String {
            let place = [line, column].compactMap { $0.map(String.init) }.joined(separator: ":")
            return [file, place, " \(message) [\(code)]"].filter { !$0.isEmpty }.joined(separator: ":")
                + (hint.map { "\n  Hint: \($0)" } ?? "")
        }
    }

    private struct Answer: Encodable { var problems: [Finding] }

    func run() async throws {
        let definitions = try definition.load()
        let problems = try await options.withClient { client in
            var problems: [DefinitionProblem] = []
            for definition in definitions { problems += try await client.validate(definition) }
            return problems
        }
        let places = problems.isEmpty ? nil : try self.definition.places()
        let findings = problems.map { Finding($0, at: places?.place(of: $0.path)) }
        options.output.answer(
            Answer(problems: findings),
            findings.isEmpty
                ? "Nothing is wrong." : findings.map { $0.text(file: self.definition.file) }.joined(separator: "\n")
        )
        if !findings.isEmpty { throw ExitStatus.usage }
    }
}
