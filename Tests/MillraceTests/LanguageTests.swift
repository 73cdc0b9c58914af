import DefinitionsExample
import Foundation
import Millrace
import MillraceTestSupport
import Postgres
import Testing

@Suite("Workflows written in Swift")
struct LanguageTests {
    private static let examples = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../examples").standardizedFileURL

    @Test("The example in Swift says what the example in YAML says")
    func sameAsYAML() throws {
        let written = try WorkflowDefinition.load(Self.examples.appending(path: "order.yaml").path(percentEncoded: false))
        #expect(try JSONValue(json: order.definition.json) == inSeconds(JSONValue(json: written.json)))
        #expect(order.definition.name == "order")
        #expect(Set(order.definition.steps) == Set(written.steps))
    }

    /// With texts such as `30s` as numbers: Swift's durations are written as seconds.
    private func inSeconds(_ value: JSONValue) -> JSONValue {
        switch value {
        case .string(let text): text.wholeMatch(of: /([0-9]+)s/).flatMap { Int64($0.1) }.map(JSONValue.integer) ?? value
        case .array(let elements): .array(elements.map(inSeconds))
        case .object(let members): .object(members.mapValues(inSeconds))
        default: value
        }
    }

    @Test("Every word becomes the key that it stands for")
    func words() throws {
        let workflow = Workflow("all") {
            Step("a").handler("work").settings(["text": "t", "numbers": [1, 2.5, true, nil]])
                .description("first").queue("slow").priority(-3).expected(.milliseconds(1500)).delay(.seconds(1))
            Step("b").needs("a").needs("a", "a").noop().rule("a.completed || a.skipped")
                .when("$.run.x == 1", .sql("select true", timeout: .seconds(1), cache: .seconds(10)))
            Step("c").needs(["b"]).http("https://x.test", method: "POST").rule(.anyCompleted)
                .input(["id": "$.needs.b.id"], required: ["id"])
                .retry(limit: 2, on: ["timeout", "http:5xx"], neverOn: ["http:501"])
            Step("d").shell("true").forEach("$.run.items", parallel: 3, failures: .failFast, chunk: 10)
            Step("e").workflow("child", version: 2).when("$.run.y == 2")
            Step("f").wait(for: .signal("paid"), onTimeout: .skip).timeout(.seconds(60))
            Step("g").wait(for: .person(assignee: "ada", candidates: ["bob"], answer: ["type": "string"]))
            Step("h").wait(for: .duration(.seconds(5))).deadline(.seconds(9)).window("08:00-20:00 Europe/Berlin")
            Step("i").noop().output(.keep(for: .seconds(60))).outputShape(["type": "object"])
                .cache(key: "$.run.id", ttl: .seconds(3600)).batch(max: 100, delay: .milliseconds(500), key: "$.run.to")
                .onError("j").compensate { $0.handler("undo").input(["id": "$.output.id"]).retry(limit: 1) }
            for number in 1...2 where number > 1 { Step("n\(number)").noop().output(.none) }
        }
        .onFailure(.cancel).deadline(.seconds(3600)).output(["x": "$.needs.i"])
        .defaults { $0.queue("q").retry(limit: 1).handler("noop") }
        .finally { Step("end").noop().rule(.allDone) }
        let expected = """
            {"workflow": "all", "on_failure": "cancel", "deadline": 3600, "output": {"x": "$.needs.i"},
             "defaults": {"queue": "q", "retry": {"limit": 1}, "handler": "noop"},
             "finally": [{"key": "end", "handler": "noop", "rule": "all_done"}],
             "steps": [
                {"key": "a", "handler": "work", "with": {"text": "t", "numbers": [1, 2.5, true, null]}, "description": "first",
                 "queue": "slow", "priority": -3, "expected": 1.5, "delay": 1},
                {"key": "b", "needs": ["a"], "handler": "noop", "rule": "a.completed || a.skipped",
                 "when": ["$.run.x == 1", {"sql": "select true", "timeout": 1, "cache": 10}]},
                {"key": "c", "needs": ["b"], "handler": "http", "with": {"url": "https://x.test", "method": "POST"},
                 "rule": "any_completed", "input": {"id": "$.needs.b.id"}, "required": ["id"],
                 "retry": {"limit": 2, "on": ["timeout", "http:5xx"], "never_on": ["http:501"]}},
                {"key": "d", "handler": "shell", "with": {"command": "true"},
                 "for_each": {"in": "$.run.items", "parallel": 3, "failures": "fail_fast", "chunk": 10}},
                {"key": "e", "workflow": "child", "version": 2, "when": "$.run.y == 2"},
                {"key": "f", "wait_for": {"signal": "paid", "on_timeout": "skip"}, "timeout": 60},
                {"key": "g", "wait_for": {"person": {"assignee": "ada", "candidates": ["bob"], "answer": {"type": "string"}}}},
                {"key": "h", "wait_for": {"duration": 5}, "deadline": 9, "window": "08:00-20:00 Europe/Berlin"},
                {"key": "i", "handler": "noop", "output": {"ttl": 60}, "output_shape": {"type": "object"},
                 "cache": {"key": "$.run.id", "ttl": 3600}, "batch": {"max": 100, "delay": 0.5, "key": "$.run.to"},
                 "on_error": "j", "compensate": {"handler": "undo", "input": {"id": "$.output.id"}, "retry": {"limit": 1}}},
                {"key": "n2", "handler": "noop", "output": "none"}
             ]}
            """
        #expect(workflow.json == (try JSONValue(json: expected)))
    }

    private struct Person: Codable {
        var name: String
        var price: String
    }

    @Test("A typed step needs what its input is taken from, and a value stays what it is")
    func typed() throws {
        let greet = TypedHandler<Person, Person>("greet")
        let first = greet.step("the \"first\"", input: .run)
        let value = try greet.step("value", input: .value(Person(name: "Ada", price: "$5"))).retry(limit: 2)
        let mixed = greet.step(
            "mixed",
            input: .object(["name": .from(first.output.member("name", as: String.self)), "price": .value("$5"), "x": .run("x")])
        )
        #expect(first.step.json == ["key": "the \"first\"", "handler": "greet", "input": "$.run"])
        #expect(
            value.step.json
                == ["key": "value", "handler": "greet", "input": ["name": "Ada", "price": "$$5"], "retry": ["limit": 2]]
        )
        #expect(
            mixed.step.json == [
                "key": "mixed", "handler": "greet", "needs": ["the \"first\""],
                "input": [
                    "name": #"$.needs."the \"first\""."name""#, "price": "$$5", "x": #"$.run."x""#,
                ],
            ]
        )
    }

    @Test("The examples are accepted, and their definitions are versions like any other")
    func accepted() async throws {
        try await PostgresCluster.with(.plain) { cluster in
            let database = try await cluster.createDatabase(extension: true)
            try await Client.with(database) { client in
                for workflow in [order, quote] {
                    #expect(try await client.validate(workflow) == [])
                    let defined = try await client.define(workflow)
                    #expect(try await client.define(workflow) == defined)
                }
                let wrong = Workflow("wrong") { Step("a").needs("b").noop() }
                #expect(try await client.validate(wrong).map(\.code) == ["MR104"])
            }
        }
    }
}
