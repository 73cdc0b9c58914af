/// Something that an import came upon: refused, or left behind.
public struct ImportFinding: Sendable, Hashable, Encodable {
    /// Where in the file, from 1 on; none where the format has no lines worth naming.
    public var line: Int?
    public var column: Int?
    /// What it is called in the file: `jobs.build.services`.
    public var subject: String
    public var message: String

    public var description: String {
        let place = [line, column].compactMap { $0.map(String.init) }.joined(separator: ":")
        return (place.isEmpty ? "" : place + ": ") + (subject.isEmpty ? "" : subject + ": ") + message
    }
}

/// Gathers what an importer cannot carry over, so that one error names all of it.
final class ImportFindings {
    private(set) var leftBehind: [ImportFinding] = []
    private var refused: [ImportFinding] = []
    /// What `--leave-out` would call the refused parts, in order.
    private var names: [String] = []
    private var isBroken = false
    private let leaveOut: Set<String>
    /// A part that becomes several steps is looked at as often; it is told of once.
    private var seen: Set<ImportFinding> = []

    /// As many as a person reads.
    private static let shown = 50

    init(leaveOut: Set<String> = []) {
        self.leaveOut = leaveOut
    }

    /// A part that would change what is executed or when.
    ///
    /// - Parameter name: What ``ImportOptions/leaveOut`` calls it.
    func refuse(_ name: String, _ subject: String, _ message: String, at place: DefinitionPlaces.Place? = nil) {
        guard !leaveOut.contains(name) else { return leaveBehind(subject, message, at: place) }
        guard let finding = finding(subject, message, place) else { return }
        refused.append(finding)
        if !names.contains(name) { names.append(name) }
    }

    /// A mistake in the file: without it there is no graph.
    func mistake(_ subject: String, _ message: String, at place: DefinitionPlaces.Place? = nil) {
        isBroken = true
        if let finding = finding(subject, message, place) { refused.append(finding) }
    }

    /// A part that does not concern the graph.
    func leaveBehind(_ subject: String, _ message: String, at place: DefinitionPlaces.Place? = nil) {
        if let finding = finding(subject, message, place) { leftBehind.append(finding) }
    }

    private func finding(_ subject: String, _ message: String, _ place: DefinitionPlaces.Place?) -> ImportFinding? {
        let finding = ImportFinding(line: place?.line, column: place?.column, subject: subject, message: message)
        return seen.insert(finding).inserted ? finding : nil
    }

    func check() throws(MillraceError) {
        guard !refused.isEmpty else { return }
        var lines = refused.prefix(Self.shown).map(\.description)
        if refused.count > Self.shown { lines.append("and \(refused.count - Self.shown) more") }
        let count = refused.count == 1 ? "One part" : "\(refused.count) parts"
        throw MillraceError(
            isBroken ? .malformed : .unsupported,
            isBroken ? "This cannot be read as a workflow." : "\(count) cannot be carried over.",
            detail: lines.joined(separator: "\n  "),
            hint: isBroken
                ? nil
                : "To bring in the rest without it: "
                    + names.map { "--leave-out \($0)" }.joined(separator: " ") + "."
        )
    }
}
