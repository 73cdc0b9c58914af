import MillraceAgent
import Testing

@Suite struct ClosureHandlerTests {
    struct Person: Codable, Equatable {
        var name: String
    }

    private func handlers(_ register: (inout Handlers) -> Void) -> any Handler {
        var handlers = Handlers()
        register(&handlers)
        return handlers.byName["greet"]!
    }

    @Test func inputAndOutputAreJSON() async throws {
        let greet = handlers { $0.register("greet") { (person: Person, _) in Person(name: "Hello " + person.name) } }
        #expect(try await run(greet, input: #"{"name": "Ada"}"#) == .json(#"{"name":"Hello Ada"}"#))
    }

    @Test func aClosureMayHaveNoOutput() async throws {
        let greet = handlers { $0.register("greet") { (_: Person, _) in } }
        #expect(try await run(greet, input: #"{"name": "Ada"}"#) == .none)
    }

    @Test func theStepIsKnown() async throws {
        let greet = handlers {
            $0.register("greet") { step in .json("[\(step.runID), \(step.stepNo), \(step.attempt), \"\(step.key)\"]") }
        }
        #expect(try await run(greet) == .json(#"[7, 3, 1, "step"]"#))
    }

    @Test func anInputThatDoesNotFitIsExplained() async throws {
        let greet = handlers { $0.register("greet") { (_: Person, _) in } }
        #expect(
            try await failure(of: greet, input: "{}").message
                == "The step's input does not fit: name is missing in the whole"
        )
        #expect(
            try await failure(of: greet, input: #"{"name": 7}"#).message
                == "The step's input does not fit: name is not String"
        )
        #expect(try await !failure(of: greet, input: nil).isRetriable)
    }

    @Test func anOutputThatIsNoJSONIsExplained() async throws {
        let greet = handlers { $0.register("greet") { (_: Person, _) in Double.nan } }
        let error = try await failure(of: greet, input: #"{"name": "Ada"}"#)
        #expect(error.message.hasPrefix("The output (Double) cannot be written as JSON"))
    }

    @Test(arguments: ["{}", #"{"seconds": -1}"#, #"{"seconds": "soon"}"#, #"{"seconds": 1e300}"#])
    func sleepRefusesBadSettings(settings: String) async throws {
        let sleep = try #require(Handlers.standard.byName["sleep"])
        #expect(try await !failure(of: sleep, with: settings).isRetriable)
    }

    @Test func sleepEndsWhenItIsStopped() async throws {
        let sleep = try #require(Handlers.standard.byName["sleep"])
        let step = Task { try await run(sleep, with: #"{"seconds": 1000}"#) }
        step.cancel()
        await #expect(throws: CancellationError.self) { try await step.value }
    }
}
