import ArgumentParser
import Foundation
import Millrace

/// Which runs a command is about that takes many.
struct FilterOptions: ParsableArguments {
    @Option(help: "Runs of this workflow.")
    var workflow: String?

    @Option(help: "Runs of this tenant.")
    var tenant: String?

    @Option(
        name: .customLong("label"),
        help: ArgumentHelp("Runs with this label; may be given more than once.", valueName: "name=value")
    )
    var labels: [String] = []

    @Option(name: .customLong("state"), help: "Runs in this state; may be given more than once.")
    var states: [String] = []

    @Option(help: ArgumentHelp("Runs submitted at this time or later.", valueName: "time"))
    var createdFrom: String?

    @Option(help: ArgumentHelp("Runs submitted before this time.", valueName: "time"))
    var createdTo: String?

    @Flag(help: "All runs that the command can be about.")
    var all = false

    @Option(help: ArgumentHelp("The most runs to take, the oldest first.", valueName: "runs"))
    var max = 1000

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    /// Whether anything says that many runs are meant.
    var isGiven: Bool {
        workflow != nil || tenant != nil || !labels.isEmpty || !states.isEmpty || createdFrom != nil
            || createdTo != nil || all
    }

    func filter() throws -> SteeringFilter {
        var filter = SteeringFilter()
        filter.workflow = workflow
        filter.tenant = tenant
        filter.states = states.isEmpty ? nil : states
        filter.createdFrom = try createdFrom.map { try Self.time($0, of: "--created-from") }
        filter.createdTo = try createdTo.map { try Self.time($0, of: "--created-to") }
        filter.maxRuns = max
        for label in labels {
            guard let equals = label.firstIndex(of: "="), equals > label.startIndex else {
                throw ValidationError("--label \(label): write NAME=VALUE.")
            }
            let value = String(label[label.index(after: equals)...])
            // A number, true or an object where it is one; else text.
            filter.labels = filter.labels ?? [:]
            filter.labels?[String(label[..<equals])] = (try? JSONValue(json: value)) ?? .string(value)
        }
        return filter
    }

    static func time(_ text: String, of option: String) throws -> Date {
        for style in [Date.ISO8601FormatStyle(), .init(includingFractionalSeconds: true)] {
            if let date = try? Date(text, strategy: style) { return date }
        }
        throw ValidationError("\(option) \(text): write a time such as 2026-03-01T08:00:00Z.")
    }

    /// Either one run or a filter.
    func validate(run: Int64?) throws {
        guard (run == nil) == isGiven else {
            throw ValidationError(
                run == nil ? "Name a run, or say which runs are meant: --workflow, --label, --state, …, --all."
                    : "Name a run, or say which runs are meant, not both."
            )
        }
    }
}

/// Which failures a command is about.
struct FailureOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Failures of this class: http:5xx, timeout, exit:3.", valueName: "class"))
    var errorClass: String?

    @Option(help: ArgumentHelp("Failures at this time or later.", valueName: "time"))
    var failedFrom: String?

    @Option(help: ArgumentHelp("Failures before this time.", valueName: "time"))
    var failedTo: String?

    var isGiven: Bool { errorClass != nil || failedFrom != nil || failedTo != nil }

    func narrow(_ filter: SteeringFilter) throws -> SteeringFilter {
        var filter = filter
        filter.errorClass = errorClass
        filter.failedFrom = try failedFrom.map { try FilterOptions.time($0, of: "--failed-from") }
        filter.failedTo = try failedTo.map { try FilterOptions.time($0, of: "--failed-to") }
        return filter
    }
}

/// What was done with many runs.
struct ManyRuns: Encodable {
    var runIds: [Int64]
    var isDryRun: Bool
}
