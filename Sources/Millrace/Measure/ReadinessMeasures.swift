import Postgres

/// Ways to find the steps that are ready.
public enum ReadinessWay: String, Sendable, CaseIterable {
    /// Their state is stored.
    case millrace
    /// Transitions are stored, and the present state is the latest of them (`DISTINCT ON`).
    case latestTransition = "latest_transition"
    /// Transitions are stored, the latest with a flag that has a partial index.
    case flaggedTransition = "flagged_transition"

    /// - Parameter run: nil for all runs.
    func question(run: Int64?) -> String {
        let ofRun = run.map { "run_id = \($0)" }
        switch self {
        case .millrace:
            return (["select run_id, key from millrace.steps where state = 'ready'"] + [ofRun].compactMap { $0 })
                .joined(separator: " and ")
        case .latestTransition, .flaggedTransition:
            return (["select run_id, key from millrace_bench.ready_by_\(rawValue)"] + [ofRun].compactMap { $0 })
                .joined(separator: " where ")
        }
    }
}

/// How long the server takes to answer which steps are ready.
public struct ReadinessTime: Sendable, Hashable {
    /// The median of several times, as a prepared statement.
    public var milliseconds: Double
    /// How many steps are ready.
    public var steps: Int
    /// The same for the same steps.
    public var fingerprint: String
}

extension Client {
    /// How many steps of some runs have completed.
    public func completedSteps(of runs: [Int64]) async throws(MillraceError) -> Int {
        let sql = "select count(*)::bigint from millrace.events where run_id = any ($1) and kind = 'step_completed'"
        return try await row(sql, [.int64s(runs)]) { row throws(PostgresError) in try row.int(0) }
    }

    /// Stores all runs a second time, as older engines do: an append-only table of transitions, and views that find the
    /// present state in it; in the schema `millrace_bench`.
    public func storeTransitions() async throws {
        try await pool.withConnection { connection in
            _ = try await connection.execute(script: Self.transitions)
            _ = try await connection.query("vacuum analyze")
        }
    }

    public func dropTransitions() async throws(MillraceError) {
        _ = try await query("drop schema if exists millrace_bench cascade")
    }

    /// - Parameters:
    ///   - run: nil for all runs.
    ///   - seconds: How long to ask again and again, at most a hundred times and five at least.
    public func readinessTime(
        _ way: ReadinessWay,
        run: Int64?,
        seconds: Double
    ) async throws -> ReadinessTime {
        try await pool.withConnection { connection in
            _ = try await connection.execute(script: Self.stopwatch)
            let answer = try await connection.query(
                "select milliseconds, steps, fingerprint from pg_temp.time_of($1, $2)",
                [.text(way.question(run: run)), .double(seconds)]
            )
            return ReadinessTime(
                milliseconds: try answer[0].double(0),
                steps: try answer[0].int(1),
                fingerprint: try answer[0].string(2)
            )
        }
    }

    private static let transitions = """
        drop schema if exists millrace_bench cascade;
        create schema millrace_bench;
        create table millrace_bench.step as
          select r.run_id, d.def_no as step_no, d.key
          from millrace_internal.run r join millrace_internal.step_definition d using (version_id);
        create table millrace_bench.need as
          select r.run_id, d.def_no as step_no, n.need_no
          from millrace_internal.run r join millrace_internal.step_definition d using (version_id), unnest(d.needs) as n (need_no);
        create table millrace_bench.transition as
          select run_id, step_no, event_id as sort_key, substr(kind, 6) as to_state,
                 row_number() over (partition by run_id, step_no order by event_id desc) = 1 as most_recent
          from millrace.events where step_no is not null;
        alter table millrace_bench.step add primary key (run_id, step_no);
        alter table millrace_bench.need add primary key (run_id, step_no, need_no);
        alter table millrace_bench.transition add primary key (run_id, step_no, sort_key);
        create unique index on millrace_bench.transition (run_id, step_no) where most_recent;
        create view millrace_bench.latest as
          select distinct on (run_id, step_no) run_id, step_no, to_state from millrace_bench.transition
          order by run_id, step_no, sort_key desc;
        create view millrace_bench.flagged as
          select run_id, step_no, to_state from millrace_bench.transition where most_recent;
        \(readyBy("latest_transition", "latest"))
        \(readyBy("flagged_transition", "flagged"))
        """

    /// Steps without a transition whose needs have all completed.
    private static func readyBy(_ name: String, _ present: String) -> String {
        """
        create view millrace_bench.ready_by_\(name) as
          select s.run_id, s.step_no, s.key from millrace_bench.step s
          where not exists (
              select from millrace_bench.\(present) t where t.run_id = s.run_id and t.step_no = s.step_no)
            and not exists (
              select from millrace_bench.need n
              left join millrace_bench.\(present) t on t.run_id = n.run_id and t.step_no = n.need_no
              where n.run_id = s.run_id and n.step_no = s.step_no and t.to_state is distinct from 'completed');
        """
    }

    /// The server's own time: the way to a client is as long for every question.
    private static let stopwatch = """
        create or replace function pg_temp.time_of(
          question text, seconds float8, out milliseconds float8, out steps bigint, out fingerprint text) language plpgsql as $$
        declare
          begun timestamptz;
          spent float8[] = '{}';
        begin
          execute format('select count(*), coalesce(sum(hashtextextended(q::text, 0)), 0)::text from (%s) q', question)
            into steps, fingerprint;
          execute 'prepare question as ' || question;
          -- the first ones fill caches and settle the plan
          for ask in 1..105 loop
            begun := clock_timestamp();
            execute 'execute question';
            spent := spent || extract(epoch from clock_timestamp() - begun)::float8 * 1000;
            exit when ask >= 10 and (select sum(s) from unnest(spent) s) > seconds * 1000;
          end loop;
          deallocate question;
          milliseconds := (select percentile_cont(0.5) within group (order by s) from unnest(spent[6:]) s);
        end $$;
        """
}
