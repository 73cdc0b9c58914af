import Millrace
import MillraceTestSupport
import Postgres

/// Files that steps have left behind, whoever died meanwhile.
extension Verdict {
    private struct File {
        var name: String
        var token: Int32
        var lines: Int
        /// It has the size and the checksum that it should have, and each line is of the hand-out that stored it.
        var isWhole: Bool
    }

    mutating func judgeArtifacts(in world: World) async throws {
        let files = try await files()
        let tokens = try await tokens()
        for run in world.runs.values.sorted(by: { $0.runID < $1.runID }) {
            for step in run.steps.values.sorted(by: { $0.number < $1.number }) {
                let place = Place(run: run.runID, step: step.number)
                if let complaint = complaint(about: files[place] ?? [], of: step, token: tokens[place] ?? 0) {
                    complain("\(step.name): \(complaint)", of: run)
                }
            }
        }
        try await judgeRemains()
    }

    private struct Place: Hashable {
        var run: Int64
        var step: Int32
    }

    private func complaint(about files: [File], of step: StepModel, token: Int32) -> String? {
        if !files.isEmpty, !step.isHandedOut || step.isSpread {
            return "no agent has had it, who stored \(files[0].name)?"
        }
        if let broken = files.first(where: { !$0.isWhole }) { return "\(broken.name) is not whole" }
        if Set(files.map(\.name)).count < files.count { return "files of the same name" }
        guard step.state == .completed, step.isHandedOut, step.output != .known(World.resolution) else { return nil }
        for number in 0..<step.plan.artifacts {
            let (name, lines) = (Errand.fileName(number), Errand.lines(salt: step.plan.salt, file: number))
            if !files.contains(where: { $0.name == name && $0.token == token && $0.lines == lines }) {
                return "\(name) of the hand-out that completed it is not there"
            }
        }
        return nil
    }

    private func files() async throws -> [Place: [File]] {
        let sql = """
            SELECT f.run_id, f.step_no, f.name, f.token, f.bytes / octet_length(l.line),
                   octet_length(f.content) = f.bytes AND encode(sha256(f.content), 'hex') = f.sha256
                       AND f.content = convert_to(repeat(l.line, (f.bytes / octet_length(l.line))::integer), 'UTF8')
            FROM (SELECT a.run_id, a.step_no, a.name, a.token, a.bytes, a.sha256,
                         string_agg(millrace.read_artifact(a.run_id, a.step_no, a.artifact_no, n), '' ORDER BY n) AS content
                  FROM millrace.artifacts a, generate_series(1, a.parts) n GROUP BY a.run_id, a.step_no, a.artifact_no, 3, 4, 5, 6) f,
                 format(E'run %s step %s token %s %s\\n', f.run_id, f.step_no, f.token, f.name) l (line)
            """
        var files: [Place: [File]] = [:]
        for row in try await connection.query(sql) {
            let file = File(
                name: try row.decode(2),
                token: try row.decode(3),
                lines: Int(try row.decode(4, as: Int64.self)),
                isWhole: try row.decode(5)
            )
            files[Place(run: try row.decode(0), step: try row.decode(1)), default: []].append(file)
        }
        return files
    }

    private func tokens() async throws -> [Place: Int32] {
        var tokens: [Place: Int32] = [:]
        for row in try await connection.query("SELECT run_id, step_no, token FROM millrace.steps") {
            tokens[Place(run: try row.decode(0), step: try row.decode(1))] = try row.decode(2)
        }
        return tokens
    }

    /// What was never completed is gone, at the latest after a minute.
    private mutating func judgeRemains() async throws {
        _ = try await connection.query("SELECT millrace.set_clock(clock_timestamp() + interval '2 minutes')")
        try await eventually("nothing is being written any more") {
            _ = try await connection.query("SELECT FROM millrace.keep()")
            return try await connection.query("SELECT FROM millrace_internal.artifact_upload").isEmpty
        }
        let parts: Int64 = try await connection.query(
            """
            SELECT count(*) FROM millrace_internal.artifact_part p
            WHERE NOT EXISTS (SELECT FROM millrace_internal.artifact a
                              WHERE (a.run_id, a.step_no, a.artifact_no) = (p.run_id, p.step_no, p.artifact_no) AND p.part_no <= a.parts)
            """
        )[0].decode(0)
        if parts > 0 { complaints.append("parts of no artifact: \(parts)") }
    }
}
