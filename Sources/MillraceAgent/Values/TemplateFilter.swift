import Foundation
import Millrace

/// What `{{filter(name)}}` makes of a value. docs/templates.md lists them with examples; the database knows their names.
///
/// A filter that does not fit its value answers nil, which renders as nothing.
struct TemplateFilter {
    private let name: String
    /// What follows the first dot of the name: digits, a member, a pattern.
    private let argument: String?

    init?(_ word: String) {
        guard let dot = word.firstIndex(of: ".") else {
            (name, argument) = (word, nil)
            return
        }
        name = String(word[..<dot])
        argument = String(word[word.index(after: dot)...])
    }

    func apply(to value: JSONValue, _ style: TemplateStyle) -> Any? {
        switch name {
        case "json": return text(value.json, style)
        case "pretty": return text(pretty(value), style)
        case "size", "empty": return size(value).map { name == "size" ? number($0, style) : $0 == 0 }
        default: break
        }
        return switch value {
        case .array(let elements): list(elements, style)
        case .object(let members): object(members, style)
        case .string(let string): self.string(string, style)
        case .integer(let integer): self.number(Double(integer), style)
        case .number(let double): self.number(double, style)
        case .null, .bool: nil
        }
    }

    private func size(_ value: JSONValue) -> Int? {
        switch value {
        case .array(let elements): elements.count
        case .object(let members): members.count
        case .string(let text): text.count
        default: nil
        }
    }

    private func pretty(_ value: JSONValue) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? value.json
    }

    // MARK: Lists and objects

    private func list(_ elements: [JSONValue], _ style: TemplateStyle) -> Any? {
        switch name {
        case "first": elements.first.map { TemplateValue.wrap($0, style) }
        case "last": elements.last.map { TemplateValue.wrap($0, style) }
        case "reversed": TemplateList(elements: elements.reversed(), style: style)
        case "sorted": TemplateList(elements: sorted(elements), style: style)
        case "join": text(elements.map { plain($0, style) }.joined(separator: ", "), style)
        case "lines": text(elements.map { plain($0, style) }.joined(separator: "\n"), style)
        case "take": count.map { TemplateList(elements: Array(elements.prefix($0)), style: style) }
        case "skip": count.map { TemplateList(elements: Array(elements.dropFirst($0)), style: style) }
        case "pages": count.flatMap { pages(elements, of: $0, style) }
        default: nil
        }
    }

    private var count: Int? { argument.flatMap { Int($0) } }

    private func pages(_ elements: [JSONValue], of size: Int, _ style: TemplateStyle) -> TemplateList? {
        guard size > 0 else { return nil }
        let pages = stride(from: 0, to: elements.count, by: size).map { from in
            JSONValue.array(Array(elements[from..<min(from + size, elements.count)]))
        }
        return TemplateList(elements: pages, style: style)
    }

    /// By the named member, or by the elements themselves; numbers before texts.
    private func sorted(_ elements: [JSONValue]) -> [JSONValue] {
        func key(_ element: JSONValue) -> (Int, Double, String) {
            var element = element
            if let argument, case .object(let members) = element { element = members[argument] ?? .null }
            return switch element {
            case .integer(let number): (0, Double(number), "")
            case .number(let number): (0, number, "")
            case .string(let text): (1, 0, text)
            default: (2, 0, element.json)
            }
        }
        // Stable: elements that are alike keep their order.
        return elements.enumerated().map { (key($1), $0, $1) }
            .sorted { $0.0 != $1.0 ? $0.0 < $1.0 : $0.1 < $1.1 }.map(\.2)
    }

    private func object(_ members: [String: JSONValue], _ style: TemplateStyle) -> Any? {
        let sorted = members.sorted { $0.key < $1.key }
        return switch name {
        case "keys": TemplateList(elements: sorted.map { .string($0.key) }, style: style)
        case "entries":
            TemplateList(
                elements: sorted.map { .object(["key": .string($0.key), "value": $0.value]) },
                style: style
            )
        default: nil
        }
    }

    private func plain(_ value: JSONValue, _ style: TemplateStyle) -> String {
        switch value {
        case .null: ""
        case .bool, .array, .object: value.json
        case .string, .integer, .number: TemplateScalar(value: value, style: style).renderText
        }
    }

    // MARK: Texts and numbers

    private func string(_ string: String, _ style: TemplateStyle) -> Any? {
        switch name {
        case "upper": text(string.uppercased(), style)
        case "lower": text(string.lowercased(), style)
        case "capitalized": text(string.prefix(1).uppercased() + string.dropFirst(), style)
        case "trim": text(string.trimmingCharacters(in: .whitespacesAndNewlines), style)
        case "number", "percent": Double(string).flatMap { number($0, style) }
        default: TemplateDate(string).flatMap { date($0, style) }
        }
    }

    private func number(_ number: Double, _ style: TemplateStyle) -> Any? {
        switch name {
        case "number", "percent":
            let locale = Locale(identifier: style.locale)
            let digits = count.map { $0...$0 } ?? 0...(name == "percent" ? 0 : 3)
            if name == "percent" {
                let format = FloatingPointFormatStyle<Double>.Percent(locale: locale).precision(.fractionLength(digits))
                return text(number.formatted(format.rounded(rule: .toNearestOrAwayFromZero)), style)
            }
            let format = FloatingPointFormatStyle<Double>(locale: locale).precision(.fractionLength(digits))
            return text(number.formatted(format.rounded(rule: .toNearestOrAwayFromZero)), style)
        default:
            // Seconds since 1970.
            return date(TemplateDate(seconds: number), style)
        }
    }

    private func date(_ date: TemplateDate, _ style: TemplateStyle) -> Any? {
        let pattern: String? =
            switch name {
            // In a name there are no spaces.
            case "date": argument.map { $0.replacing("_", with: " ") } ?? "yyyy-MM-dd"
            case "time": "HH:mm"
            case "datetime": "yyyy-MM-dd HH:mm"
            default: nil
            }
        return pattern.map { text(date.formatted($0, style), style) }
    }

    private func text(_ text: String, _ style: TemplateStyle) -> Any {
        TemplateScalar(value: .string(text), style: style)
    }

    private func number(_ number: Int, _ style: TemplateStyle) -> Any {
        TemplateScalar(value: .integer(Int64(number)), style: style)
    }
}
