import ArgumentParser
import Millrace

struct Signal: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give a run a signal that its steps wait for.",
        discussion: "It is kept where no step waits for it yet. The first of a name stays."
    )

    @OptionGroup var subject: RunOptions

    @Argument(help: "The name of the signal.")
    var name: String

    @Option(help: ArgumentHelp("The output of the steps that wait for it.", valueName: "json"))
    var payload: String?

    private struct Answer: Encodable {
        var runId: Int64
        var name: String
        var first: Bool
    }

    func run() async throws {
        let value = try payload.map { try JSONValue(json: $0) }
        try await options.withClient { client in
            let first = try await client.signal(runID, name: name, payload: value)
            options.output.answer(
                Answer(runId: runID, name: name, first: first),
                first
                    ? "Run \(runID) has the signal \(name)."
                    : "Run \(runID) has had a signal \(name) before; that one stays."
            )
        }
    }
}
