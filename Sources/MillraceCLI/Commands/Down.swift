import ArgumentParser
import Millrace

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop the embedded database.",
        discussion: "What it holds stays in .millrace/."
    )

    @Flag(help: "Answer with one JSON object on the last line.")
    var json = false

    private struct Answer: Encodable { var stopped: Bool }

    func run() async throws {
        let stopped = try await EmbeddedDatabase().down()
        Output(isJSON: json).answer(Answer(stopped: stopped), stopped ? "Stopped." : "The embedded database is not up.")
    }
}
