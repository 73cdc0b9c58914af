/// The name of a handler together with the types of its input and its output.
///
/// Declared once, it is used by the program that defines workflows and by the one that executes them, so that the
/// compiler sees where they do not fit:
///
/// ```swift
/// let greet = TypedHandler<Person, Greeting>("greet")
/// let shout = TypedHandler<Greeting, Greeting>("shout")
///
/// agent.register(greet) { person, step in Greeting(text: "Hello \(person.name)") }
///
/// let greeter = Workflow("greeter") {
///     let hello = greet.step("hello", input: .run)
///     hello
///     shout.step("louder", input: hello.output)   // needs hello
/// }
/// ```
public struct TypedHandler<Input, Output>: Sendable {
    public let name: String

    public init(_ name: String) {
        self.name = name
    }

    /// A step that this handler executes. It needs the steps that its input is taken from.
    public func step(_ key: String, input: InputValue<Input>) -> TypedStep<Output> {
        TypedStep(
            step: Step(key).handler(name).needing(input.needs).input(input.json)
        )
    }
}

/// A step whose output has a known type.
public struct TypedStep<Output>: HasPolicies {
    /// The same without its type.
    public let step: Step

    init(step: Step) {
        self.step = step
    }

    public var key: String { step.key }

    /// What the step will have put out, as another's input.
    public var output: InputValue<Output> {
        InputValue(path: "$.needs.\(Path.quoted(key))", needs: [key])
    }

    /// The outputs of all elements, where the step has one execution for each of some elements.
    public var outputs: InputValue<[Output]> {
        InputValue(path: "$.needs.\(Path.quoted(key))", needs: [key])
    }

    public func with(key: String, _ value: JSONValue) -> TypedStep {
        TypedStep(step: step.with(key: key, value))
    }

    /// Says more about it, with all that steps can say.
    ///
    /// ```swift
    /// greet.step("hello", input: .run).and { $0.when("$.run.polite == true").cache(key: "$.run.name") }
    /// ```
    public func and(_ more: (Step) -> Step) -> TypedStep {
        TypedStep(step: more(step))
    }
}

/// Where the input of a step comes from: a value, a path, or an object of both.
public struct InputValue<Value>: Sendable {
    let json: JSONValue
    /// Keys of the steps whose outputs it uses.
    let needs: [String]

    init(json: JSONValue, needs: [String] = []) {
        self.json = json
        self.needs = needs
    }

    init(path: String, needs: [String]) {
        self.init(json: .string(path), needs: needs)
    }

    /// The run's input.
    public static var run: InputValue { InputValue(path: "$.run", needs: []) }

    /// A member of the run's input.
    public static func run(_ name: String) -> InputValue {
        InputValue(path: "$.run.\(Path.quoted(name))", needs: [])
    }

    /// A member of this, whose type the author vouches for: the database finds it by its name in JSON.
    public func member<Member>(_ name: String, as type: Member.Type = Member.self) -> InputValue<Member> {
        guard case .string(let path) = json else {
            guard case .object(let members) = json else { return InputValue<Member>(json: .null, needs: needs) }
            return InputValue<Member>(json: members[name] ?? .null, needs: needs)
        }
        return InputValue<Member>(path: "\(path).\(Path.quoted(name))", needs: needs)
    }

    /// The same for one that takes another type of the same JSON.
    public func `as`<Other>(_ type: Other.Type = Other.self) -> InputValue<Other> {
        InputValue<Other>(json: json, needs: needs)
    }

    /// An object put together member by member; the author vouches for its members.
    ///
    /// ```swift
    /// .object(["name": .run("name"), "greeting": .from(hello.output), "loud": .value(true)])
    /// ```
    public static func object(_ members: [String: InputPart]) -> InputValue {
        InputValue(
            json: .object(members.mapValues(\.json)),
            needs: members.sorted { $0.key < $1.key }.flatMap(\.value.needs)
        )
    }
}

extension InputValue where Value: Encodable {
    /// A value that is the same in every run.
    ///
    /// - Throws: what the value's own `encode` throws.
    public static func value(_ value: Value) throws -> InputValue {
        InputValue(json: Path.literal(try JSONValue(encoding: value)))
    }
}

/// A member of an object that is put together, whatever its type.
public struct InputPart: Sendable {
    let json: JSONValue
    let needs: [String]

    /// A member of the run's input.
    public static func run(_ name: String) -> InputPart { from(InputValue<JSONValue>.run(name)) }

    /// A value that is the same in every run.
    public static func value(_ value: JSONValue) -> InputPart { InputPart(json: Path.literal(value), needs: []) }

    /// What another step puts out, or a member of it.
    public static func from<Value>(_ value: InputValue<Value>) -> InputPart {
        InputPart(json: value.json, needs: value.needs)
    }
}

enum Path {
    /// A key as JSONPath writes it: always quoted, for it may be any text.
    static func quoted(_ key: String) -> String { JSONValue.string(key).json }

    /// Texts that begin with a dollar sign would be read as paths.
    static func literal(_ value: JSONValue) -> JSONValue {
        switch value {
        case .string(let text) where text.hasPrefix("$"): .string("$" + text)
        case .array(let elements): .array(elements.map(literal))
        case .object(let members): .object(members.mapValues(literal))
        default: value
        }
    }
}
