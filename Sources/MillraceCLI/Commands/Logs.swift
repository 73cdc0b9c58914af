import ArgumentParser
import Foundation
import Millrace

struct Logs: RunCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what the steps of a run have written.",
        discussion: "A line each, with the step's key before it; with --json one object a line."
    )

    @OptionGroup var subject: RunOptions

    @Flag(name: .shortAndLong, help: "Go on until the run ends.")
    var follow = false

    @Argument(help: ArgumentHelp("Of this step alone.", valueName: "key"))
    var key: String?

    func run() async throws {
        try await options.withClient { client in
            // A run or a step that is not there is an error, not an empty log.
            _ = try await client.run(runID)
            if let key { _ = try await client.output(of: key, run: runID) }
            var position = StepLogPosition()
            while true {
                let asked = ContinuousClock.now
                // Asked before the lines, so that none of a run that has ended is missed.
                let isOver = follow ? try await client.progress(runID).isOver : true
                var lines: [StoredLogLine]
                repeat {
                    lines = try await client.logs(of: runID, key: key, after: &position)
                    lines.forEach(show)
                } while !lines.isEmpty
                if isOver { return }
                try await Task.sleep(for: max(.milliseconds(200), (ContinuousClock.now - asked) * 9))
            }
        }
    }

    private func show(_ line: StoredLogLine) {
        if options.json {
            options.output.answer(line, "")
        } else {
            let terminal = options.output.terminal
            let text = line.stream == "stderr" ? terminal.style(line.line, .yellow) : line.line
            terminal.print("\(terminal.style(line.key, .bold)) \(terminal.style("|", .dim)) \(text)")
        }
    }
}
