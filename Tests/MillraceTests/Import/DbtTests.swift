import Millrace
import Testing

@Suite("dbt")
struct DbtTests {
    @Test("What dbt executes, by its references")
    func graph() throws {
        let bakery = try Imports.load("manifest.json", .dbt)
        #expect(bakery.definition.name == "bakery")
        let start = "operation.bakery.bakery-on-run-start-0"
        #expect(
            bakery.needs == [
                start: [],
                "seed.bakery.raw_orders": [start],
                "seed.bakery.raw_people": [start],
                "model.bakery.stg_orders": ["seed.bakery.raw_orders"],
                // Through an ephemeral model.
                "model.bakery.orders": ["model.bakery.stg_orders", "seed.bakery.raw_people"],
                "model.bakery.report": ["model.bakery.orders"],
                "snapshot.bakery.orders_history": ["model.bakery.orders"],
                "test.bakery.not_null_stg_orders_id.1a2b": ["model.bakery.stg_orders"],
                "test.bakery.relationships_orders_people.3c4d": ["model.bakery.orders", "seed.bakery.raw_people"],
                "unit_test.bakery.orders.sums": ["model.bakery.orders"],
            ]
        )
        #expect(bakery.leftBehind.map(\.subject) == ["analysis.bakery.look", "model.bakery.old_report", "exposures"])
        #expect(bakery.definition.steps.allSatisfy { $0.handler == "noop" })
    }

    @Test("Tests stand between, as under dbt build, where that is asked for")
    func gates() throws {
        let bakery = try Imports.load("manifest.json", .dbt) { $0.waitsForTests = true }
        #expect(
            bakery.needs["model.bakery.orders"] == [
                "model.bakery.stg_orders", "seed.bakery.raw_people", "test.bakery.not_null_stg_orders_id.1a2b",
                "unit_test.bakery.orders.sums",
            ]
        )
        #expect(
            bakery.needs["model.bakery.report"] == [
                "model.bakery.orders", "test.bakery.relationships_orders_people.3c4d",
            ]
        )
        #expect(bakery.needs["unit_test.bakery.orders.sums"] == ["model.bakery.stg_orders", "seed.bakery.raw_people"])
        _ = try StepGraph(bakery.definition)
    }

    @Test("Commands name nodes past any shell")
    func shell() throws {
        let bakery = try Imports.load("manifest.json", .dbt) { options in
            options.handler = .shell
            options.leaveOut = ["hooks"]
        }
        #expect(
            try bakery.steps["model.bakery.stg_orders"]?["with"]
                == .object([
                    "command": .array(["dbt", "run", "--select", "fqn:bakery.staging.stg_orders"].map { .string($0) })
                ])
        )
        let refused = #expect(throws: MillraceError.self) {
            try Imports.load("manifest.json", .dbt) { $0.handler = .shell }
        }
        #expect(try #require(refused).description.contains("bakery-on-run-start-0: dbt has no command"))
    }

    @Test(
        "What is wrong is named",
        arguments: [
            ("[]", "no manifest.json of dbt"),
            (#"{"nodes": {}}"#, "nothing that dbt executes"),
            (#"{"nodes": {"x.p.a": {"resource_type": "robot"}}}"#, "x.p.a: Nodes of the type \"robot\" are not known"),
            (
                #"{"nodes": {"model.p.a": {"resource_type": "model", "depends_on": {"nodes": ["model.p.b"]}}}, "disabled": {"model.p.b": []}}"#,
                "model.p.a: It depends on model.p.b, which is disabled"
            ),
        ]
    )
    func wrong(text: String, message: String) throws {
        #expect(try Imports.refusal(text, .dbt).description.contains(message))
    }

    @Test("The server takes it, and names a reference to nothing")
    func server() async throws {
        try await ImportServer.with { server in
            let bakery = try Imports.load("manifest.json", .dbt) { $0.waitsForTests = true }
            let states = try await server.states(bakery, failing: ["test.bakery.not_null_stg_orders_id.1a2b"])
            #expect(states["model.bakery.stg_orders"] == "completed")
            #expect(states["model.bakery.orders"] == "skipped" && states["model.bakery.report"] == "skipped")
            let lost = #"{"nodes": {"model.p.a": {"resource_type": "model", "depends_on": {"nodes": ["model.p.b"]}}}}"#
            let problems = try await server.client.validate(Imports.read(lost, .dbt).definition)
            #expect(problems.map(\.code) == ["MR104"])
        }
    }
}
