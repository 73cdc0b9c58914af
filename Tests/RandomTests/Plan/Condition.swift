import Millrace

/// A condition of a random step, as a definition says it and as the model judges it.
enum Condition: Sendable {
    case run(above: Int)
    case need(String, above: Int)
    case ended(String)
    case runInSQL(above: Int)
    case needInSQL(String, above: Int)
    /// Fails where the run's number is this one.
    case breaking(at: Int)

    var json: JSONValue {
        switch self {
        case .run(let bound): .string("$.run.n > \(bound)")
        case .need(let key, let bound): .string("$.needs.\(key).v > \(bound)")
        case .ended(let state): .string("$.ended.state == \"\(state)\"")
        case .runInSQL(let bound): ["sql": .string("select ($1 #>> '{run,n}')::integer > \(bound)"), "timeout": "30s"]
        case .needInSQL(let key, let bound):
            ["sql": .string("select ($1 #>> '{needs,\(key),v}')::integer > \(bound)"), "timeout": "30s", "cache": "1s"]
        case .breaking(let number):
            ["sql": .string("select 10 / (($1 #>> '{run,n}')::integer - \(number)) < 100"), "timeout": "30s"]
        }
    }

    /// Whether it is asked when the step would start, and not when its rule holds.
    var isInSQL: Bool {
        switch self {
        case .run, .need, .ended: false
        case .runInSQL, .needInSQL, .breaking: true
        }
    }

    /// - Returns: nil where it fails.
    func holds(in context: Context) -> Bool? {
        switch self {
        case .run(let bound), .runInSQL(let bound): context.n.map { $0 > bound } ?? false
        // A path goes into arrays by itself, SQL's operator does not.
        case .need(let key, let bound): context.needs[key]?.all("v").contains { $0.isAbove(bound) } ?? false
        case .needInSQL(let key, let bound): context.needs[key]?["v"]?.isAbove(bound) ?? false
        case .ended(let state): context.ended == state
        case .breaking(let number): context.n.map { $0 == number ? nil : true } ?? .some(false)
        }
    }

    /// What a step may look at.
    struct Context {
        var n: Int?
        var needs: [String: JSONValue]
        var ended: String?
    }
}

extension JSONValue {
    subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members[name]
    }

    /// What a path finds under a name: in an array, in each of its elements.
    func all(_ name: String) -> [JSONValue] {
        guard case .array(let elements) = self else { return self[name].map { [$0] } ?? [] }
        return elements.compactMap { $0[name] }
    }

    func isAbove(_ bound: Int) -> Bool {
        guard case .integer(let value) = self else { return false }
        return value > bound
    }

    var int: Int? {
        guard case .integer(let value) = self else { return nil }
        return Int(value)
    }
}
