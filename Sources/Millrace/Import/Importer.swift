/// Reads workflows of one foreign language.
///
/// An importer carries over the graph and what decides it: needs, conditions, retries, times. What it cannot carry over it
/// refuses by name and place, all of it at once; what a task *does* is another's text, and is left behind unless
/// ``ImportOptions/handler`` asks for it.
protocol Importer {
    /// The workflow that the file holds.
    ///
    /// - Throws: ``MillraceError`` where the file is not of this language. What is of it and cannot be carried over goes to
    ///   `findings`.
    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
}

extension DefinitionFormat {
    /// Who reads this format; none for Millrace's own language.
    var importer: (any Importer.Type)? {
        switch self {
        case .millrace: nil
        case .wfformat: WfFormat.self
        case .github: GitHubImporter.self
        case .argo: ArgoImporter.self
        case .dbt: DbtImporter.self
        case .ninja: NinjaImporter.self
        case .dot: DOTImporter.self
        case .csv: EdgeListImporter.self
        case .tsv: EdgeListImporter.self
        }
    }
}

/// What becomes of the work of an imported task.
public enum ImportHandler: Sendable, Hashable {
    /// A `sleep` as long as the task is known to take, a `noop` where that is not known. Nothing of the file is executed.
    case simulated
    /// The task's own commands, for the handler `shell`.
    case shell
    /// A handler of this name, which gets the input alone.
    case named(String)
}

/// How a foreign workflow is brought in.
public struct ImportOptions: Sendable {
    public var handler = ImportHandler.simulated
    /// What known durations are multiplied with. At 0 no step waits.
    public var timeScale = 1.0
    /// The workflow's name, in place of the one that the file gives it.
    public var name: String?
    /// Names of parts that cannot be carried over and are to be left out instead of refused.
    public var leaveOut: Set<String> = []
    /// For edge lists and DOT: an arrow leads from a step to what it needs.
    public var isReversed = false
    /// For dbt: what builds on a tested node waits for its tests, as under `dbt build`.
    public var waitsForTests = false

    public init() {}
}

/// A foreign workflow, brought in.
public struct ImportedDefinition: Sendable {
    public var definition: WorkflowDefinition
    /// Workflows whose runs are steps of it, or of one another. They belong into the database together with it.
    public var children: [WorkflowDefinition]
    /// What stayed behind and was not refused, because it does not concern the graph.
    public var leftBehind: [ImportFinding]
    /// What the file gives as default values of the run's input.
    public var input: JSONValue?

    /// All that it takes, the children first.
    public var definitions: [WorkflowDefinition] { children + [definition] }
}

/// A file to be brought in.
struct ImportFile {
    var path: String
    var bytes: [UInt8]
    var format: DefinitionFormat

    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Its name without directory and endings.
    var stem: String {
        let name = path.split(separator: "/").last ?? ""
        return String(name.prefix { $0 != "." })
    }

    /// What the workflow is called here.
    func workflowName(_ own: String, _ options: ImportOptions) -> String {
        WorkflowName.valid(options.name ?? (own.isEmpty ? stem : own))
    }
}

extension ImportFile {
    func imported(_ options: ImportOptions) throws(MillraceError) -> ImportedDefinition {
        guard options.timeScale >= 0, options.timeScale.isFinite else {
            throw MillraceError(
                .malformed,
                "A time scale of \(options.timeScale) makes no sense.",
                hint: "Give a number from 0 up."
            )
        }
        guard let importer = format.importer else {
            throw MillraceError(.unsupported, "A definition of Millrace need not be brought in: define it.")
        }
        let findings = ImportFindings(leaveOut: options.leaveOut)
        var workflow = try importer.workflow(in: self, options, findings)
        try findings.check()
        guard !workflow.steps.isEmpty else {
            throw MillraceError(.malformed, "There is nothing in it that a step could do.")
        }
        workflow.name = workflowName(workflow.name, options)
        return ImportedDefinition(
            definition: workflow.definition,
            children: workflow.children.map(\.definition),
            leftBehind: findings.leftBehind,
            input: workflow.input
        )
    }
}

enum WorkflowName {
    /// Names in the wild are free text; a workflow's is kept to an identifier of at most 200 bytes.
    static func valid(_ text: String) -> String {
        // Some recorders gave the name of a file.
        let text = text.hasSuffix(".json") ? String(text.dropLast(5)) : text
        let name = String(
            decoding: text.utf8.prefix(199).map { byte -> UInt8 in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: ":"),
                    UInt8(ascii: "#"), UInt8(ascii: "-"):
                    byte
                default: UInt8(ascii: "_")
                }
            },
            as: UTF8.self
        )
        return name.first.map { $0.isLetter || $0 == "_" } ?? false ? name : "_" + name
    }
}
