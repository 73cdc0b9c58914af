import Foundation
import MillraceAgent
import Postgres

/// An agent of one's own: a program whose closures are the handlers of `greeter.yaml`.
///
/// ```
/// bin/millrace define examples/greeter/greeter.yaml
/// MILLRACE_DATABASE_URL="$(bin/millrace up)" swift run -c release GreeterExample &
/// bin/millrace submit greeter --input '{"name": "Ada"}'
/// ```
@main
struct Greeter {
    struct Person: Decodable {
        var name: String
    }

    struct Greeting: Codable {
        var text: String
    }

    static func main() async throws {
        let url = ProcessInfo.processInfo.environment["MILLRACE_DATABASE_URL"] ?? ""
        var agent = Agent(database: try PostgresConfiguration(url))
        agent.register("greet") { (person: Person, step) in
            guard !person.name.isEmpty else {
                // No other try would find a name: the step fails for good.
                throw HandlerError.fatal("There is nobody to greet in run \(step.runID).")
            }
            return Greeting(text: "Hello \(person.name)")
        }
        agent.register("shout") { (greeting: Greeting, _) in
            Greeting(text: greeting.text.uppercased() + "!")
        }
        try await agent.runService()
    }
}
