import Foundation
import Millrace

/// Settings and input as a handler sees them: with templates rendered, secrets in their places, and outputs fetched that
/// are kept elsewhere.
///
/// The database says in `$places` where there is something left to do, by what the definition says and never by what
/// stands in the values that it has filled in: nobody can name a secret from outside of a definition.
struct LateValues: Sendable {
    private(set) var settings: [UInt8]?
    private(set) var input: [UInt8]?
    private(set) var redaction = Redaction([])

    /// Nil where there is nothing to do.
    init?(_ work: Work, renderer: TemplateRenderer, secrets: Secrets, store: OutputStore?) async throws {
        let fetched = (settings: try await store?.resolved(work.settings), input: try await store?.resolved(work.input))
        settings = fetched.settings ?? work.settings
        input = fetched.input ?? work.input
        var filling = Filling(renderer: renderer, secrets: secrets)
        let isFilled = try await fill(with: &filling)
        redaction = Redaction(filling.known)
        if !isFilled, fetched.settings == nil, fetched.input == nil { return nil }
    }

    private mutating func fill(with filling: inout Filling) async throws -> Bool {
        guard let text = settings, Self.mayHavePlaces(text),
            case .object(var members) = try JSONValue(json: String(decoding: text, as: UTF8.self)),
            case .object(let places) = members.removeValue(forKey: "$places")
        else { return false }
        var value = JSONValue.object(members)
        for place in Self.places(places["with"]) { try await filling.fill(place[...], in: &value) }
        settings = Array(value.json.utf8)
        let inputPlaces = Self.places(places["input"])
        if let text = input, !inputPlaces.isEmpty {
            var value = try JSONValue(json: String(decoding: text, as: UTF8.self))
            filling.mayKnowSecrets = false
            for place in inputPlaces { try await filling.fill(place[...], in: &value) }
            input = Array(value.json.utf8)
        }
        return true
    }

    static func mayConcern(_ work: Work) -> Bool {
        work.hasSettings && work.settings.map(mayHavePlaces) ?? false
    }

    /// Most settings have none, and are not taken apart.
    private static func mayHavePlaces(_ json: [UInt8]) -> Bool {
        json.count >= mark.count && json.firstRange(of: mark) != nil
    }

    private static let mark = Array(#""$places""#.utf8)

    private static func places(_ value: JSONValue?) -> [[String]] {
        guard case .array(let places) = value else { return [] }
        return places.compactMap { place in
            guard case .array(let steps) = place else { return nil }
            return steps.compactMap { if case .string(let step) = $0 { step } else { nil } }
        }
    }
}

/// Fills one place after another.
private struct Filling {
    let renderer: TemplateRenderer
    let secrets: Secrets
    var mayKnowSecrets = true
    /// The secrets so far.
    var known: [String] = []

    init(renderer: TemplateRenderer, secrets: Secrets) {
        self.renderer = renderer
        self.secrets = secrets
    }

    mutating func fill(_ place: ArraySlice<String>, in value: inout JSONValue) async throws {
        guard let step = place.first else {
            value = try await filled(value)
            return
        }
        switch value {
        case .object(var members):
            guard var member = members[step] else { return }
            try await fill(place.dropFirst(), in: &member)
            members[step] = member
            value = .object(members)
        case .array(var elements):
            guard let index = Int(step), elements.indices.contains(index) else { return }
            try await fill(place.dropFirst(), in: &elements[index])
            value = .array(elements)
        default: return
        }
    }

    private mutating func filled(_ value: JSONValue) async throws -> JSONValue {
        if let source = TemplateRenderer.Source(value) { return .string(try renderer.render(source)) }
        guard mayKnowSecrets, case .string(let text) = value, text.hasPrefix(Self.scheme) else { return value }
        let secret = try await secrets.value(of: String(text.dropFirst(Self.scheme.count)))
        known.append(secret)
        return .string(secret)
    }

    private static let scheme = "secret://"
}
