import Foundation
import Millrace

/// What a long step says of itself while it runs.
extension StepContext {
    /// Tells how far the step is. Shown in `millrace.steps`, by `millrace watch` and `millrace run`; what is told in quick
    /// succession is stored once.
    ///
    /// - Parameters:
    ///   - fraction: 0 to 1; nil where nobody knows.
    ///   - message: A few words.
    public func progress(_ fraction: Double?, _ message: String? = nil) {
        guard let journal, let database else { return }
        journal.note(
            StepProgress(handOut: work.handOut, fraction: fraction, message: message.map(redacted)),
            agent: database.agentID
        )
    }

    /// Writes a line to the step's log, `millrace logs`. The text may have several.
    public func log(_ text: String) { write(text, .log) }

    func write(_ text: String, _ stream: StepLogLine.Stream) {
        guard let journal, let database else { return }
        for line in redacted(text).split(separator: "\n", omittingEmptySubsequences: false) {
            journal.write(String(line), stream, of: work.handOut, agent: database.agentID)
        }
    }

    private func redacted(_ text: String) -> String {
        guard let redaction = late?.redaction, !redaction.isEmpty else { return text }
        return redaction.applied(to: text)
    }

    /// Keeps `value` for the next attempt, should this one not come to its end. The last one counts.
    ///
    /// - Throws: ``/Millrace/MillraceError`` with ``/Millrace/MillraceError/Code-swift.struct/staleHandOut`` where the step
    ///   was taken away: end, nobody waits for the result.
    public func save(checkpoint value: some Encodable) async throws {
        guard let database else { return }
        let json = try Output.encoding(value).json ?? "null"
        try await database.client.save(agent: database.agentID, work.handOut, checkpoint: json)
    }

    /// What an earlier attempt has saved; nil where none has.
    public func checkpoint<Value: Decodable>(as type: Value.Type = Value.self) async throws -> Value? {
        guard let database else { return nil }
        guard let json = try await database.client.checkpoint(agent: database.agentID, work.handOut) else { return nil }
        return try JSONDecoder().decode(type, from: Data(json.utf8))
    }
}
