import Foundation
import Millrace
import Mustache
import Synchronization

/// Renders templates, each of which it parses once.
package final class TemplateRenderer: Sendable {
    /// What stands in a definition, with the data that the database has put beside it.
    package struct Source: Sendable {
        var text: String
        var escape = "none"
        var style = TemplateStyle()
        var data: [String: JSONValue] = [:]

        package init?(_ value: JSONValue) {
            guard case .object(let members) = value, case .string(let text) = members["$template"] else { return nil }
            self.text = text
            if case .string(let escape) = members["escape"] { self.escape = escape }
            if case .string(let locale) = members["locale"] { style.locale = locale }
            if case .string(let timezone) = members["timezone"] { style.timezone = timezone }
            if case .object(let data) = members["data"] { self.data = data }
        }
    }

    private struct Key: Hashable {
        var text: String
        var escape: String
    }

    private struct Cache {
        var templates: [Key: MustacheTemplate] = [:]
        var bytes = 0
    }

    /// Texts that are kept parsed. Past it all are forgotten: a machine that has more of them parses some again.
    static let cacheBytes = 4 << 20

    private static let errorClass = "template"

    private let cache = Mutex(Cache())

    package init() { TemplateEscape.register }

    package func render(_ source: Source) throws(HandlerError) -> String {
        let template = try template(Key(text: source.text, escape: source.escape))
        return template.render(TemplateObject(members: source.data, style: source.style))
    }

    private func template(_ key: Key) throws(HandlerError) -> MustacheTemplate {
        if let template = cache.withLock({ $0.templates[key] }) { return template }
        guard let escape = TemplateEscape(rawValue: key.escape) else {
            throw .fatal(
                "This agent does not know the template's way to escape, \"\(key.escape)\". Upgrade it.",
                errorClass: Self.errorClass
            )
        }
        let template: MustacheTemplate
        do {
            // The library knows an element's index, counted from 0. The line break belongs to the pragma.
            let text = key.text.replacing(#/{{\s*number\(\)\s*}}/#, with: "{{plusone(index())}}")
            template = try MustacheTemplate(string: "{{% CONTENT_TYPE:\(escape.contentType) }}\n\(text)")
        } catch let error as MustacheTemplate.ParserError {
            throw .fatal(
                "The template cannot be parsed: \(error.error), at line \(error.context.lineNumber - 1).",
                errorClass: Self.errorClass
            )
        } catch {
            throw .fatal("The template cannot be parsed: \(error).", errorClass: Self.errorClass)
        }
        cache.withLock { cache in
            if cache.bytes > Self.cacheBytes { cache = Cache() }
            if cache.templates.updateValue(template, forKey: key) == nil { cache.bytes += key.text.utf8.count }
        }
        return template
    }
}

/// What is done to values, so that they stay values where the text goes. `{{{name}}}` and `{{&name}}` are left alone.
enum TemplateEscape: String, MustacheContentType {
    case none, html, url, json, shell

    var contentType: String {
        switch self {
        case .none: "TEXT"
        case .html: "HTML"
        case .url, .json, .shell: "MILLRACE_\(rawValue.uppercased())"
        }
    }

    static let register: Void = {
        for escape in [Self.url, .json, .shell] {
            MustacheContentTypes.register(escape, named: escape.contentType)
        }
    }()

    func escapeText(_ text: String) -> String {
        switch self {
        case .none, .html: text
        case .url: text.addingPercentEncoding(withAllowedCharacters: Self.unreserved) ?? ""
        case .json: String(JSONValue.string(text).json.dropFirst().dropLast())
        case .shell: "'" + text.replacing("'", with: #"'\''"#) + "'"
        }
    }

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    )
}
