import Foundation
import Postgres

/// How long it took until work went on, from the log.
struct ChaosTiming: CustomStringConvertible {
    /// From an agent's death until each step that it held was started again, outages of the server left out.
    private(set) var again: [Double] = []
    /// From the server's return until the first step was started or completed.
    private(set) var resumed: [Double] = []

    init(_ chaos: Chaos) async throws {
        let connection = try await Connection.connect(chaos.work.configuration)
        let lost = try await connection.query(
            """
            SELECT a.name, min(n.at)
            FROM millrace.events l JOIN millrace.agents a USING (agent_id)
            JOIN millrace.events n ON n.run_id = l.run_id AND n.step_no = l.step_no AND n.kind = 'step_started' AND n.event_id > l.event_id
            WHERE l.kind = 'step_released' AND l.data->>'reason' = 'agent lost'
            GROUP BY l.event_id, a.name
            """
        )
        for row in lost {
            guard let from = chaos.killed[try row.decode(0)]?.timeIntervalSince1970 else { continue }
            let until = try row.decode(1, as: Timestamp.self).secondsSince1970
            let outage = chaos.outages.reduce(0) { total, outage in
                total
                    + max(
                        0,
                        min(until, outage.until.timeIntervalSince1970) - max(from, outage.from.timeIntervalSince1970)
                    )
            }
            again.append(until - from - outage)
        }
        for outage in chaos.outages {
            let answer = try await connection.query(
                """
                SELECT extract(epoch FROM min(at)) - $1 FROM millrace.events
                WHERE at > to_timestamp($1) AND kind IN ('step_started', 'step_completed')
                """,
                [.double(outage.until.timeIntervalSince1970)]
            )
            if let seconds = try answer[0].decode(0, as: Double?.self) { resumed.append(seconds) }
        }
    }

    func late(lease: Int) -> [String] {
        again.filter { $0 > Double(lease) + 1 }.map { "a lost step was started again only after \($0) s" }
            + resumed.filter { $0 > 3 }.map { "work went on only \($0) s after the server's return" }
    }

    var description: String {
        "\(again.count) steps of killed agents were started again within \(Self.worst(again)), "
            + "work went on after \(resumed.count) outages within \(Self.worst(resumed))"
    }

    private static func worst(_ seconds: [Double]) -> String { String(format: "%.2f s", seconds.max() ?? 0) }
}
