import Foundation
import Postgres

/// A registered agent, as the server knows it.
public struct Registration: Sendable, Hashable {
    public var agentID: Int32
    /// The protocol number that both sides speak.
    public var protocolNumber: Int32
    /// How long the agent keeps what it holds without a heartbeat.
    public var lease: Duration
    /// What to LISTEN on: a notification means that work may be waiting.
    public var channels: [String]
    /// `dispatcher` or `plain`.
    public var tier: String
}

/// The answer to a heartbeat.
public struct Heartbeat: Sendable, Hashable {
    /// A step that the agent holds no longer: stop its handler, do not report it.
    public struct Revoked: Sendable, Hashable {
        public enum Reason: String, Sendable {
            case cancelled
            case timedOut = "timed_out"
            case lost
        }

        public var handOut: HandOut
        public var reason: Reason

        public init(handOut: HandOut, reason: Reason) {
            self.handOut = handOut
            self.reason = reason
        }
    }

    public var lease: Duration
    /// When to beat again.
    public var nextBeat: Duration
    /// Whether work waits for this agent.
    public var claimable: Bool
    public var revoked: [Revoked]
}

/// The calls of an agent.
public struct WorkClient: Sendable {
    let client: Client

    public init(pool: Pool) {
        client = Client(pool: pool)
    }

    /// Makes this process known as an agent, by the newest protocol that both sides speak.
    public func register(
        queues: [String],
        handlers: [String],
        name: String? = nil,
        lease: Duration = .seconds(10),
        listening: Bool = true
    ) async throws(MillraceError) -> Registration {
        let numbers = MillraceVersion.protocolNumbers
        do {
            return try await register(numbers.upperBound, queues, handlers, name, lease, listening)
        } catch {
            guard error.code == .protocolNotSupported else { throw error }
            return try await register(numbers.lowerBound, queues, handlers, name, lease, listening)
        }
    }

    private func register(
        _ number: Int32,
        _ queues: [String],
        _ handlers: [String],
        _ name: String?,
        _ lease: Duration,
        _ listening: Bool
    ) async throws(MillraceError) -> Registration {
        let sql = """
            select agent_id, agreed_protocol, lease_seconds, channels, tier
            from millrace.register_agent(queues => $1, handlers => $2, protocol => $3, name => $4,
                                         lease => make_interval(secs => $5), listening => $6)
            """
        let parameters: [Parameter] = [
            .texts(queues), .texts(handlers), .int32(number), .text(name),
            .double(lease.seconds), .bool(listening),
        ]
        return try await client.row(sql, parameters) { row throws(PostgresError) in
            Registration(
                agentID: try row.int32(0),
                protocolNumber: try row.int32(1),
                lease: .seconds(try row.double(2)),
                channels: try row.decode(3),
                tier: try row.string(4)
            )
        }
    }

    /// Asks for work. An empty answer: nothing was claimable.
    ///
    /// - Parameter protocolNumber: What was agreed on at the registration.
    public func claim(
        agent: Int32,
        capacity: Capacity,
        protocolNumber: Int32 = MillraceVersion.protocolNumbers.upperBound
    ) async throws(MillraceError) -> [Work] {
        let sql = """
            select \(Work.Column.names(protocolNumber))
            from millrace.claim(agent_id => $1, max_steps => $2, capacity => $3, max_bytes => $4)
            """
        let parameters: [Parameter] = [
            .int32(agent), .int32(Int32(capacity.maxSteps)), .json(capacity.json), .int32(Int32(capacity.maxBytes)),
        ]
        return try await client.rows(sql, parameters) { row throws(PostgresError) in try Work(row, from: 0) }
    }

    /// Has so many connections prepare what an agent calls, so that no step waits for that. Asks for nothing.
    public func warmUp(agent: Int32, connections: Int) async {
        await withDiscardingTaskGroup { group in
            for _ in 0..<connections {
                // A call that cannot be made now fails again when it matters, and is dealt with then.
                group.addTask { _ = try? await claim(agent: agent, capacity: Capacity(maxSteps: 0)) }
            }
        }
    }

    /// Reports how steps ended, and takes on more work in the same call.
    ///
    /// - Parameters:
    ///   - capacity: What there is room for; nothing is started where nil.
    ///   - protocolNumber: What was agreed on at the registration.
    public func report(
        agent: Int32,
        _ reports: [StepReport],
        capacity: Capacity?,
        protocolNumber: Int32 = MillraceVersion.protocolNumbers.upperBound
    ) async throws(MillraceError) -> Reported {
        let namesClasses = protocolNumber >= 2 && reports.contains { $0.errorClass != nil }
        let sql = """
            select answer, code, message, \(Work.Column.names(protocolNumber))
            from millrace.report(agent_id => $1, run_ids => $2, step_nos => $3, tokens => $4, outcomes => $5,
                                 outputs => $6::text[], errors => $7::text[], elapsed => $8, max_steps => $9,
                                 capacity => $10, max_bytes => $11\(namesClasses ? ", classes => $12" : ""))
            """
        let capacity = capacity ?? Capacity(maxSteps: 0)
        var parameters: [Parameter] = [
            .int32(agent),
            .int64s(reports.map(\.handOut.runID)),
            .int32s(reports.map(\.handOut.stepNo)),
            .int32s(reports.map(\.handOut.token)),
            .texts(reports.map(\.outcome.rawValue)),
            Self.texts(reports.map(\.output), nul: "\\u0000"),
            Self.texts(reports.map(\.error), nul: "\u{fffd}"),
            .doubles(reports.map(\.elapsed)),
            .int32(Int32(capacity.maxSteps)),
            .json(capacity.json),
            .int32(Int32(capacity.maxBytes)),
        ]
        if namesClasses { parameters.append(Self.texts(reports.map(\.errorClass), nul: "\u{fffd}")) }
        let result = try await client.query(sql, parameters)
        do {
            return try Self.reported(result, count: reports.count)
        } catch {
            throw MillraceError(error)
        }
    }

    /// Runs a step of handler `sql` and completes it, in one transaction. Cancelling the task cancels the statement.
    public func executeSQL(agent: Int32, _ handOut: HandOut) async throws(MillraceError) {
        // The answer is stored with the step; nobody needs it here.
        let sql = "select millrace.execute_sql(agent_id => $1, run_id => $2, step_no => $3, token => $4) is null"
        _ = try await client.query(
            sql,
            [.int32(agent), .int64(handOut.runID), .int32(handOut.stepNo), .int32(handOut.token)]
        )
    }

    /// Renews the lease on all that the agent holds.
    ///
    /// - Parameter queued: What is held but not started: its timeouts start anew.
    public func heartbeat(agent: Int32, queued: [HandOut] = []) async throws(MillraceError) -> Heartbeat {
        let sql = "select millrace.heartbeat(agent_id => $1, queued_run_ids => $2, queued_step_nos => $3)"
        let parameters: [Parameter] = [.int32(agent), .int64s(queued.map(\.runID)), .int32s(queued.map(\.stepNo))]
        let text = try await client.row(sql, parameters) { row throws(PostgresError) in try row.bytes(0) }
        return try Heartbeat(json: text)
    }

    /// Gives steps back that were not worked on; the attempt is not counted.
    ///
    /// - Returns: How many were given back.
    @discardableResult
    public func release(agent: Int32, _ handOuts: [HandOut]) async throws(MillraceError) -> Int {
        let sql = "select millrace.release(agent_id => $1, run_ids => $2, step_nos => $3, tokens => $4)"
        return try await give(back: sql, agent, handOuts)
    }

    /// Gives back what the server says the agent runs and the agent does not know of, because an answer was lost with
    /// its connection.
    ///
    /// - Parameter handOuts: All that the agent holds.
    /// - Returns: How many were given back.
    @discardableResult
    public func releaseOthers(agent: Int32, _ handOuts: [HandOut]) async throws(MillraceError) -> Int {
        let sql = "select millrace.release_others(agent_id => $1, run_ids => $2, step_nos => $3, tokens => $4)"
        return try await give(back: sql, agent, handOuts)
    }

    /// Ends the agent; what it still holds is given back.
    public func deregister(agent: Int32) async throws(MillraceError) {
        _ = try await client.query("select millrace.deregister_agent(agent_id => $1)", [.int32(agent)])
    }
}

extension WorkClient {
    private func give(back sql: String, _ agent: Int32, _ handOuts: [HandOut]) async throws(MillraceError) -> Int {
        let parameters: [Parameter] = [
            .int32(agent), .int64s(handOuts.map(\.runID)), .int32s(handOuts.map(\.stepNo)),
            .int32s(handOuts.map(\.token)),
        ]
        return try await client.row(sql, parameters) { row throws(PostgresError) in try row.int(0) }
    }

    /// Texts that may be missing. The server refuses a whole call with a NUL character in one of its texts, so each is
    /// replaced: in an output by the escape that gets that output alone rejected.
    static func texts(_ texts: [String?], nul: String) -> Parameter {
        guard texts.contains(where: { $0 != nil }) else { return .text(nil) }
        return .texts(
            texts.map { text in
                guard let text, text.utf8.contains(0) else { return text }
                return text.split(separator: "\0", omittingEmptySubsequences: false).joined(separator: nul)
            }
        )
    }

    private static func reported(_ result: QueryResult, count: Int) throws(PostgresError) -> Reported {
        var reported = Reported(answers: [], started: [])
        reported.answers.reserveCapacity(count)
        reported.started.reserveCapacity(max(0, result.count - count))
        for row in result {
            if row.index < count {
                reported.answers.append(
                    ReportAnswer(
                        answer: Self.answer(row),
                        code: try row.optionalString(1),
                        message: try row.optionalString(2)
                    )
                )
            } else {
                reported.started.append(try Work(row, from: 3))
            }
        }
        return reported
    }

    /// Nearly every answer is `applied`, so the first letter decides without making a string.
    private static func answer(_ row: Row) -> ReportAnswer.Answer {
        row.withBytes(0) { bytes in
            switch bytes?.first {
            case UInt8(ascii: "a"): .applied
            case UInt8(ascii: "s"): .stale
            case UInt8(ascii: "r"): .rejected
            default: .unknown
            }
        }
    }
}

extension Heartbeat {
    private struct Answer: Decodable {
        struct Revoked: Decodable {
            var run_id: Int64
            var step_no: Int32
            var token: Int32
            var reason: String
        }

        var lease_seconds: Double
        var next_beat_seconds: Double
        var claimable: JSONValue?
        var revoked: [Revoked]?
    }

    init(json: [UInt8]) throws(MillraceError) {
        let answer: Answer
        do {
            answer = try JSONDecoder().decode(Answer.self, from: Data(json))
        } catch {
            throw MillraceError(
                .unexpectedAnswer,
                "The answer to the heartbeat is not understood.",
                detail: JSONProblem.describe(error, in: Data(json))
            )
        }
        lease = .seconds(answer.lease_seconds)
        nextBeat = .seconds(answer.next_beat_seconds)
        switch answer.claimable {
        case .bool(let waits): claimable = waits
        case .integer(let count): claimable = count > 0
        default: claimable = false
        }
        revoked = (answer.revoked ?? []).map { step in
            Revoked(
                handOut: HandOut(runID: step.run_id, stepNo: step.step_no, token: step.token),
                // A reason that a newer server knows means the same to a handler: stop.
                reason: Revoked.Reason(rawValue: step.reason) ?? .lost
            )
        }
    }
}

extension Duration {
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
