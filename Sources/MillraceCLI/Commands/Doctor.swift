import ArgumentParser
import Foundation
import Millrace

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what is missing or wrong, and how to mend it.",
        discussion:
            "Ends with code 1 where something keeps Millrace from working, with 3 where the database cannot be used."
    )

    @OptionGroup var options: DatabaseOptions

    private struct Answer: Encodable {
        var ok: Bool
        var checks: [Check]
    }

    func run() async throws {
        let (checks, status) = try await checks()
        let answer = Answer(ok: !checks.contains { $0.state == .missing }, checks: checks)
        let terminal = options.output.terminal
        options.output.answer(answer, checks.map { $0.render(for: terminal) }.joined(separator: "\n"))
        if status != .done { throw status }
        if !answer.ok { throw ExitStatus.failed }
    }

    /// Stops at the first check without which the others say nothing.
    private func checks() async throws -> ([Check], ExitStatus) {
        do {
            return try await Client.with(options.configuration(), connections: 1) { client in
                var checks = Examination.installation(try await client.installation())
                guard !checks.contains(where: { $0.state == .missing }) else { return (checks, .unreachable) }
                checks += Examination.server(try await client.facts(), now: Date().timeIntervalSince1970)
                checks += Examination.work(try await client.queues(), try await client.agents())
                return (checks, .done)
            }
        } catch let error as MillraceError where ExitStatus(of: error) == .unreachable {
            return ([Check("database", .missing, error.message, error.hint ?? error.detail)], .unreachable)
        }
    }
}

/// One thing that was looked at.
struct Check: Encodable {
    enum State: String, Encodable {
        case ok
        /// It works, but not as well or as safely as it could.
        case warning
        /// It does not work.
        case missing
    }

    var name: String
    var state: State
    var finding: String
    /// How to mend it.
    var remedy: String?

    init(_ name: String, _ state: State, _ finding: String, _ remedy: String? = nil) {
        self.name = name
        self.state = state
        self.finding = finding
        self.remedy = state == .ok ? nil : remedy
    }

    func render(for terminal: Terminal) -> String {
        let line = "\(terminal.state(state.rawValue, padded: 7))  \(name): \(finding)"
        return remedy.map { "\(line)\n         \(terminal.style($0, .dim))" } ?? line
    }
}

/// From facts to findings.
enum Examination {
    static func installation(_ installation: Installation) -> [Check] {
        let server = "PostgreSQL \(installation.serverVersion / 10_000).\(installation.serverVersion % 10_000)"
        guard installation.serverVersion >= Installation.oldestServer else {
            return [
                Check("server", .missing, "\(server) is too old", "Use \(Installation.oldestServer / 10_000) or newer.")
            ]
        }
        var checks = [Check("server", .ok, server)]
        do throws(MillraceError) {
            try installation.check()
            checks.append(version(of: installation))
        } catch {
            checks.append(Check("extension", .missing, error.message, error.hint))
        }
        return checks
    }

    private static func version(of installation: Installation) -> Check {
        let version = installation.version ?? ""
        guard let available = installation.availableVersion, available != version else {
            return Check("extension", .ok, "millrace \(version)")
        }
        return Check(
            "extension",
            .warning,
            "millrace \(version) in the database, \(available) on the server",
            "ALTER EXTENSION millrace UPDATE;"
        )
    }

    static func server(_ facts: ServerFacts, now: Double) -> [Check] {
        var checks = [rights(facts), tier(facts)]
        if facts.tier == "dispatcher" { checks.append(workers(facts)) }
        checks.append(durability(facts))
        if facts.isInRecovery {
            checks.append(Check("primary", .missing, "the server is a standby", "Connect to the primary."))
        }
        if facts.isHome == false {
            checks.append(
                Check(
                    "home",
                    .missing,
                    "the database is a copy from another cluster, so that nothing works here",
                    "If the original no longer works on its runs: select millrace.adopt();"
                )
            )
        }
        if let offset = facts.clockOffset, abs(offset) > 1 {
            checks.append(
                Check(
                    "engine's clock",
                    .warning,
                    "set to \(Spell.seconds(abs(offset))) \(offset < 0 ? "before" : "after") now",
                    "select millrace.set_clock(null);"
                )
            )
        }
        if abs(facts.serverTime - now) > 5 {
            checks.append(
                Check(
                    "this machine's clock",
                    .warning,
                    "\(Spell.seconds(abs(facts.serverTime - now))) \(facts.serverTime > now ? "behind" : "ahead of") the server's",
                    "Millrace only uses the server's; what you see here of times is off."
                )
            )
        }
        return checks
    }

    private static func rights(_ facts: ServerFacts) -> Check {
        if facts.isSuperuser { return Check("rights", .ok, "\(facts.role) is a superuser") }
        guard !facts.roles.isEmpty else {
            return Check(
                "rights",
                .missing,
                "\(facts.role) has none of Millrace's roles",
                "GRANT millrace_client TO \(facts.role); and millrace_agent, where it executes steps."
            )
        }
        return Check("rights", .ok, "\(facts.role) has \(facts.roles.joined(separator: ", "))")
    }

    private static func tier(_ facts: ServerFacts) -> Check {
        switch facts.tier {
        case "dispatcher": Check("tier", .ok, "dispatcher, \(facts.dispatcherState ?? "state unknown")")
        case "plain":
            Check(
                "tier",
                .warning,
                "plain: the library is not preloaded",
                "For the faster tier: shared_preload_libraries = 'millrace', and restart the server."
            )
        default: Check("tier", .warning, "the role may not see it", "GRANT millrace_viewer TO \(facts.role);")
        }
    }

    private static func workers(_ facts: ServerFacts) -> Check {
        let absent = [("waker", facts.wakerProcessId), ("keeper", facts.keeperProcessId)]
            .filter { $0.1 == nil || $0.1 == 0 }.map(\.0)
        // a launcher, two workers a database, and one slot that the server itself takes
        let wanted = 2 + 2 * (facts.servedDatabases ?? 1)
        let remedy = "In postgresql.conf: max_worker_processes = \(wanted + 8) (now \(facts.workerSlots)), and restart the server."
        if !absent.isEmpty {
            return Check(
                "workers",
                .missing,
                "\(absent.joined(separator: " and ")) not alive",
                facts.workerSlots < wanted ? remedy : "See the server's log."
            )
        }
        guard facts.workerSlots >= wanted else {
            return Check(
                "workers",
                .warning,
                "waker and keeper are alive, but \(Spell.count(facts.servedDatabases ?? 1, "database")) need \(wanted) worker slots",
                remedy
            )
        }
        return Check("workers", .ok, "waker and keeper are alive")
    }

    private static func durability(_ facts: ServerFacts) -> Check {
        if !facts.fsync || !facts.fullPageWrites {
            return Check(
                "durability",
                .warning,
                "\(facts.fsync ? "full_page_writes" : "fsync") is off: a crash of the machine loses the database",
                "Switch it on in postgresql.conf."
            )
        }
        guard facts.synchronousCommit != "off" else {
            return Check(
                "durability",
                .warning,
                "synchronous_commit is off: a crash of the server forgets what was just reported",
                "Switch it on for the agents' role."
            )
        }
        return Check("durability", .ok, "fsync on, synchronous_commit \(facts.synchronousCommit)")
    }

    static func work(_ queues: [QueueSummary], _ agents: [AgentSummary]) -> [Check] {
        var checks: [Check] = []
        let alive = agents.filter { $0.state == "alive" }
        let held = alive.reduce(0) { $0 + $1.held }
        checks.append(
            alive.isEmpty
                ? Check("agents", .warning, "none alive", "Start one: millrace agent")
                : Check("agents", .ok, "\(alive.count) alive, holding \(Spell.count(held, "step"))")
        )
        for queue in queues where queue.depth > 0 && queue.agents == 0 {
            checks.append(
                Check(
                    "queue \(queue.queue)",
                    .warning,
                    "\(Spell.count(queue.depth, "step")) for handler \(queue.handler) and no agent for them",
                    "millrace agent --queues \(queue.queue) --handlers \(queue.handler)"
                )
            )
        }
        return checks
    }
}
