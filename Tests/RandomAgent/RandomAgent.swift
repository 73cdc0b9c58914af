import Foundation
import Glibc
import Logging
import Millrace
import MillraceAgent
import MillraceTestSupport
import Postgres

/// An agent for random workflows: what becomes of a hand-out is drawn from its run, step and token. Most complete;
/// others fail, by several classes, take longer than they may, answer what does not fit, or end this process at once.
///
/// It ends when its standard input does, which whoever has started it holds open.
@main
struct RandomAgent {
    static func main() async throws {
        Thread.detachNewThread {
            while readLine() != nil {}
            _exit(0)
        }
        let database = try PostgresConfiguration(ProcessInfo.processInfo.environment["MILLRACE_DATABASE_URL"] ?? "")
        var configuration = AgentConfiguration()
        configuration.queues = ["default", "side"]
        configuration.concurrency.total = 12
        configuration.pool.max = 5
        configuration.lease = .seconds(2)
        configuration.reconnect.max = .milliseconds(200)
        configuration.claims.lookInterval = .milliseconds(500)
        var logger = Logger(label: "millrace.agent")
        logger.logLevel = .error
        let errands = Errands(database: database)
        var agent = Agent(configuration: configuration, handlers: Handlers(), database: database, logger: logger)
        agent.register("act", errands)
        agent.registerBatch("pack") { steps in
            var results: [Result<Output, any Error>] = []
            for step in steps {
                do { results.append(.success(try await errands.run(step))) } catch { results.append(.failure(error)) }
            }
            return results
        }
        try await agent.runService()
    }
}

private struct Errands: Handler {
    struct Settings: Decodable {
        var salt: Int
        /// In a thousand: how many hand-outs of each kind of mischief.
        var failing = 60
        var fatal = 15
        var deadly = 3
        var slow = 0
        var misfit = 0
        var text: String?
        var artifacts = 0
        /// What the step adds to its run.
        var growth: JSONValue?

        private enum CodingKeys: String, CodingKey {
            case salt, failing, fatal, deadly, slow, misfit, text, artifacts, growth
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            salt = try container.decode(Int.self, forKey: .salt)
            failing = try container.decodeIfPresent(Int.self, forKey: .failing) ?? failing
            fatal = try container.decodeIfPresent(Int.self, forKey: .fatal) ?? fatal
            deadly = try container.decodeIfPresent(Int.self, forKey: .deadly) ?? deadly
            slow = try container.decodeIfPresent(Int.self, forKey: .slow) ?? slow
            misfit = try container.decodeIfPresent(Int.self, forKey: .misfit) ?? misfit
            artifacts = try container.decodeIfPresent(Int.self, forKey: .artifacts) ?? artifacts
            text = try container.decodeIfPresent(String.self, forKey: .text)
            growth = try container.decodeIfPresent(JSONValue.self, forKey: .growth)
        }
    }

    struct Input: Decodable {
        var n: Int?
        var of: JSONValue?
        var element: JSONValue?
        var index: Int?
    }

    let database: PostgresConfiguration

    func run(_ step: StepContext) async throws -> Output {
        let settings: Settings = try step.settings()
        let input: Input = try step.input()
        var draw = Errand.draw(Int64(settings.salt), step.runID, Int64(step.stepNo), Int64(step.token), below: 1000)
        if let growth = settings.growth { try await add(growth, to: step) }
        func falls(_ share: Int) -> Bool {
            draw -= share
            return draw < 0 && draw >= -share
        }
        let dies = falls(settings.deadly)
        for number in 0..<settings.artifacts { try await store(number, of: step, salt: settings.salt, dies: dies) }
        if dies { kill(getpid(), SIGKILL) }
        if falls(settings.failing) {
            let errorClass = ["http:503", "http:404", "tax:late", nil][Int(step.token) % 4]
            throw HandlerError.retriable("hand-out \(step.token) fails", errorClass: errorClass)
        }
        if falls(settings.fatal) { throw HandlerError.fatal("hand-out \(step.token) fails for good") }
        if falls(settings.slow) { try await Task.sleep(for: .seconds(60)) }
        if falls(settings.misfit) { return .json(#"{"v": -1}"#) }
        if falls(100) { try await Task.sleep(for: .milliseconds(-draw / 2)) }
        var output: [String: JSONValue] = [
            "v": .integer(Int64(Errand.value(salt: settings.salt, n: input.n, index: input.index)))
        ]
        if let of = input.of { output["of"] = of }
        if let text = settings.text { output["text"] = .string(text) }
        if let element = input.element { output["element"] = element }
        return try .encoding(JSONValue.object(output))
    }

    private func store(_ number: Int, of step: StepContext, salt: Int, dies: Bool) async throws {
        let name = Errand.fileName(number)
        let line = Errand.line(run: step.runID, step: Int(step.stepNo), token: Int(step.token), file: name)
        let count = Errand.lines(salt: salt, file: number)
        try await step.store(artifact: name, Lines(line: Array(line.utf8), count: count, dies: dies))
    }

    /// Once: what has been added before, or is no longer this hand-out's to add, is refused.
    private func add(_ growth: JSONValue, to step: StepContext) async throws {
        do {
            let run = step.runID
            let caller = CallingStep(stepNo: step.stepNo, token: step.token)
            try await Client.with(database, connections: 1) { client in
                _ = try await client.addSteps(run, json: growth.json, by: caller)
            }
        } catch let error as MillraceError where ["MR041", "MR071", "MR072", "MR103"].contains(error.code.rawValue) {}
    }
}

/// The lines of a file, which may break off in the middle, and this process with it.
private struct Lines: AsyncSequence {
    let line: [UInt8]
    let count: Int
    let dies: Bool

    struct AsyncIterator: AsyncIteratorProtocol {
        let lines: Lines
        var left: Int

        mutating func next() async -> [UInt8]? {
            if lines.dies, left <= lines.count / 2 { kill(getpid(), SIGKILL) }
            let taken = Swift.min(left, 1000)
            left -= taken
            return taken == 0 ? nil : Array(repeatElement(lines.line, count: taken).joined())
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(lines: self, left: count) }
}
