import Foundation
import Millrace
import Mustache

/// How numbers and dates of a template are written.
struct TemplateStyle: Sendable, Hashable {
    var locale = "en_US"
    var timezone = "UTC"
}

/// JSON as templates see it: members and elements by name, filters by ``TemplateFilter``.
enum TemplateValue {
    /// A value for the renderer, which knows truth values and nothing else of ours.
    static func wrap(_ value: JSONValue, _ style: TemplateStyle) -> Any {
        switch value {
        case .null: TemplateNull()
        case .bool(let value): value
        case .array(let elements): TemplateList(elements: elements, style: style)
        case .object(let members): TemplateObject(members: members, style: style)
        case .string, .integer, .number: TemplateScalar(value: value, style: style)
        }
    }
}

/// JSON null: nothing, for texts and for sections.
struct TemplateNull: MustacheCustomRepresentation, MustacheParent {
    var representation: Any? { nil }
    func child(named: String) -> Any? { nil }
}

/// A text or a number. A section over an empty text is not rendered, so that `{{^name}}` is its default.
struct TemplateScalar: MustacheCustomRenderable, MustacheTransformable, MustacheParent {
    let value: JSONValue
    let style: TemplateStyle

    var renderText: String {
        switch value {
        case .string(let text): text
        // A whole number that JSON writes as 3.0 is 3 to people.
        case .number(let number) where number == number.rounded() && abs(number) < 1e15: "\(Int64(number))"
        default: value.json
        }
    }
    var isNull: Bool { value == .string("") }

    func child(named: String) -> Any? { nil }
    func transform(_ name: String) -> Any? { TemplateFilter(name)?.apply(to: value, style) }
}

/// An array: a sequence for sections, its elements by number, JSON where a text is asked for.
struct TemplateList: MustacheSequence, MustacheTransformable, MustacheCustomRenderable, MustacheParent {
    let elements: [JSONValue]
    let style: TemplateStyle

    var renderText: String { JSONValue.array(elements).json }
    var isNull: Bool { false }

    func makeIterator() -> AnyIterator<Any> {
        var rest = elements.makeIterator()
        return AnyIterator { rest.next().map { TemplateValue.wrap($0, style) } }
    }

    func child(named name: String) -> Any? {
        guard let index = Int(name), elements.indices.contains(index) else { return nil }
        return TemplateValue.wrap(elements[index], style)
    }

    func transform(_ name: String) -> Any? { TemplateFilter(name)?.apply(to: .array(elements), style) }
}

struct TemplateObject: MustacheTransformable, MustacheCustomRenderable, MustacheParent {
    let members: [String: JSONValue]
    let style: TemplateStyle

    var renderText: String { JSONValue.object(members).json }
    var isNull: Bool { false }

    func child(named name: String) -> Any? { members[name].map { TemplateValue.wrap($0, style) } }
    func transform(_ name: String) -> Any? { TemplateFilter(name)?.apply(to: .object(members), style) }
}
