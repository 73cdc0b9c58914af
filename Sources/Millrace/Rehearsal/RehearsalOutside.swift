import Foundation
import Postgres

/// What comes to a run from outside of it: signals at their times, and the answers of people.
struct RehearsalOutside {
    /// An answer that somebody will give.
    struct Answer {
        /// Its place among the starts.
        var start: Int
        var question: Question
        /// Seconds since 1970, by the engine's clock.
        var at: Double
        var ending: RehearsalScript.Ending
    }

    /// A step that waits for a person. The same step asks anew when it is tried again.
    struct Question: Hashable {
        var runID: Int64
        var stepNo: Int32
        var key: String
        var workflow: String
        var since: Double
    }

    /// Not yet sent, the next one last.
    var signals: [RehearsalScript.Signal]
    var answers: [Answer] = []
    private var asked: [Question: Int] = [:]

    init(_ script: RehearsalScript) {
        signals = script.signals.sorted { $0.at > $1.at }
    }

    /// When something will come, in seconds since 1970.
    func next(since begin: Double) -> Double? {
        [signals.last.map { begin + $0.at }, answers.map(\.at).min()].compactMap(\.self).min()
    }

    /// The next answer that is due.
    mutating func answer(until now: Double) -> Answer? {
        guard let place = answers.indices.filter({ answers[$0].at <= now }).min(by: { answers[$0].at < answers[$1].at })
        else { return nil }
        return answers.remove(at: place)
    }

    /// How often the step has asked, this time included; nil where this question is known.
    mutating func count(_ question: Question) -> Int? {
        guard asked[question] == nil else { return nil }
        let earlier = asked.keys.count { $0.runID == question.runID && $0.stepNo == question.stepNo }
        asked[question] = earlier + 1
        return earlier + 1
    }
}

extension Client {
    /// The steps that wait for a person.
    func questions() async throws(MillraceError) -> [RehearsalOutside.Question] {
        let sql = """
            select run_id, step_no, key, workflow, extract(epoch from since)::float8 from millrace.inbox
            order by since, run_id, step_no
            """
        return try await rows(sql) { row throws(PostgresError) in
            RehearsalOutside.Question(
                runID: try row.int64(0),
                stepNo: try row.int32(1),
                key: try row.string(2),
                workflow: try row.string(3),
                since: try row.double(4)
            )
        }
    }

    func answer(_ question: RehearsalOutside.Question, _ answer: JSONValue?) async throws(MillraceError) {
        let sql = """
            select millrace.complete_human_step(run_id => $1, key => $2, answer => $3, completed_by => 'rehearsal',
                                                step_no => $4)
            """
        _ = try await query(
            sql,
            [.int64(question.runID), .text(question.key), .json(answer?.json), .int32(question.stepNo)]
        )
    }

    func send(_ signal: RehearsalScript.Signal, to run: Int64) async throws(MillraceError) {
        let sql = "select millrace.signal(run_id => $1, name => $2, payload => $3)"
        _ = try await query(sql, [.int64(run), .text(signal.name), .json(signal.payload?.json)])
    }
}
