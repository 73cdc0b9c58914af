import Millrace

/// Handlers by name.
public struct Handlers: Sendable {
    package private(set) var byName: [String: any Handler] = [:]

    public init() {}

    /// The handlers in the box: `noop`, `sleep`, `shell`, `http` and `sql`.
    public static var standard: Handlers {
        var handlers = Handlers()
        handlers.register("noop", NoopHandler())
        handlers.register("sleep", SleepHandler())
        handlers.register("shell", ShellHandler())
        handlers.register("http", HTTPHandler())
        handlers.register("sql", SQLHandler())
        return handlers
    }

    /// Registers a handler; a name that is known is replaced.
    public mutating func register(_ name: String, _ handler: any Handler) {
        byName[name] = handler
    }

    /// Registers a closure that takes the step as it is.
    public mutating func register(
        _ name: String,
        _ body: @escaping @Sendable (StepContext) async throws -> Output
    ) {
        register(name, ClosureHandler(body: body))
    }

    /// Registers a closure that executes the steps of a batch in one call; see ``BatchHandler``.
    public mutating func registerBatch(
        _ name: String,
        _ body: @escaping @Sendable ([StepContext]) async throws -> [Result<Output, any Error>]
    ) {
        register(name, BatchClosureHandler(body: body))
    }

    /// Registers a closure whose input and output are JSON values of the given types.
    public mutating func register<Input: Decodable & SendableMetatype, Value: Encodable & SendableMetatype>(
        _ name: String,
        _ body: @escaping @Sendable (Input, StepContext) async throws -> Value
    ) {
        register(name, ClosureHandler { step in try .encoding(await body(step.input(), step)) })
    }

    /// Registers a closure with an input and no output.
    public mutating func register<Input: Decodable & SendableMetatype>(
        _ name: String,
        _ body: @escaping @Sendable (Input, StepContext) async throws -> Void
    ) {
        register(
            name,
            ClosureHandler { step in
                try await body(step.input(), step)
                return .none
            }
        )
    }

    /// Registers a closure for a handler whose types are declared, as workflows written in Swift name it.
    public mutating func register<Input: Decodable & SendableMetatype, Value: Encodable & SendableMetatype>(
        _ handler: TypedHandler<Input, Value>,
        _ body: @escaping @Sendable (Input, StepContext) async throws -> Value
    ) {
        register(handler.name, body)
    }
}
