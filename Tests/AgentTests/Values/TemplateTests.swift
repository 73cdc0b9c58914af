import Millrace
import MillraceAgent
import Testing

/// What templates make of their data.
@Suite struct TemplateTests {
    private func render(_ text: String, _ data: String = "{}", _ options: String = "") throws -> String {
        let value = try JSONValue(json: #"{"$template": \#(quoted(text)), "data": \#(data)\#(options)}"#)
        return try TemplateRenderer().render(#require(TemplateRenderer.Source(value)))
    }

    @Test func valuesStandWhereTheyAreNamed() throws {
        let data = #"{"run": {"name": "Ann & Bob", "n": 3, "rate": 1.5, "yes": true, "none": null, "o": {"b": 1, "a": [2]}}}"#
        #expect(try render("Dear {{run.name}}, {{run.n}} {{run.rate}} {{run.yes}}", data) == "Dear Ann & Bob, 3 1.5 true")
        #expect(try render("[{{run.none}}{{run.missing}}{{run.name.deeper}}]", data) == "[]")
        #expect(try render("{{run.o}} {{json(run.o.a)}}", data) == #"{"a":[2],"b":1} [2]"#)
        #expect(try render("{{! a comment }}{{ run.n }}\n", data) == "3\n")
    }

    @Test func aDefaultStandsInAnInvertedSection() throws {
        let text = "{{run.name}}{{^run.name}}friend{{/run.name}}"
        #expect(try render(text, #"{"run": {"name": "Ann"}}"#) == "Ann")
        for name in ["null", #""""#, "[]"] {
            #expect(try render(text, #"{"run": {"name": \#(name)}}"#) == (name == "[]" ? "[]friend" : "friend"))
        }
        #expect(try render(text, "{}") == "friend")
    }

    @Test func listsAreWrittenElementByElement() throws {
        let data = #"{"items": [{"name": "a", "n": 2}, {"name": "b", "n": 10}, {"name": "c", "n": 1}], "texts": ["x", null, 3]}"#
        #expect(
            try render("{{#items}}{{number()}}. {{name}}{{^last()}}, {{/last()}}{{/items}}", data) == "1. a, 2. b, 3. c"
        )
        #expect(try render("{{size(items)}} {{join(texts)}} {{items.1.name}} {{#first(items)}}{{n}}{{/first(items)}}", data) == "3 x, , 3 b 2")
        #expect(try render("{{#sorted.n(items)}}{{name}}{{/sorted.n(items)}}", data) == "cab")
        #expect(try render("{{#reversed(items)}}{{name}}{{/reversed(items)}}", data) == "cba")
        #expect(try render("{{lines(texts)}}", data) == "x\n\n3")
        #expect(try render("{{#empty(items)}}none{{/empty(items)}}{{^empty(items)}}some{{/empty(items)}}", data) == "some")
        #expect(try render("{{#items}}\n- {{name}}\n{{/items}}\nend", data) == "- a\n- b\n- c\nend")
    }

    @Test func aLongListHasPages() throws {
        let data = #"{"rows": [1, 2, 3, 4, 5]}"#
        let pages = "{{#pages.2(rows)}}[{{number()}}:{{#.}} {{.}}{{/.}}]{{/pages.2(rows)}} of {{size(pages.2(rows))}}"
        #expect(try render(pages, data) == "[1: 1 2][2: 3 4][3: 5] of 3")
        #expect(
            try render("{{join(take.2(rows))}} and {{size(skip.2(rows))}} more", data) == "1, 2 and 3 more"
        )
    }

    @Test func textsNumbersAndDatesHaveFormats() throws {
        let data = #"{"t": " straße ", "n": 1234567.891, "share": 0.1264, "at": "2026-11-21T23:30:05.25+00:00", "day": "2026-03-01", "epoch": 0}"#
        #expect(try render("{{upper(trim(t))}} {{lower(t)}}{{capitalized(trim(t))}}", data) == "STRASSE  straße Straße")
        #expect(try render("{{number(n)}} {{number.2(n)}} {{number.0(n)}}", data) == "1,234,567.891 1,234,567.89 1,234,568")
        #expect(try render("{{percent(share)}} {{percent.1(share)}}", data) == "13% 12.6%")
        #expect(try render("{{date(at)}} {{time(at)}} {{datetime(at)}}", data) == "2026-11-21 23:30 2026-11-21 23:30")
        #expect(try render("{{date(day)}} {{date.d._MMMM_yyyy(at)}} {{date(epoch)}}", data) == "2026-03-01 21. November 2026 1970-01-01")
        #expect(try render("[{{date(t)}}{{number(t)}}{{upper(n)}}]", data) == "[]")
    }

    @Test func timeZoneAndLocaleAreTheTemplates() throws {
        let data = #"{"n": 1234.5, "at": "2026-11-21T23:30:00Z", "day": "2026-11-21"}"#
        let options = #", "timezone": "Europe/Berlin", "locale": "de_DE""#
        #expect(try render("{{datetime(at)}} {{date(day)}}", data, options) == "2026-11-22 00:30 2026-11-21")
        #expect(try render("{{number.2(n)}}", data, options) == "1.234,50")
        #expect(try render("{{date.d._MMMM(day)}}", #"{"day": "2026-03-01"}"#, options) == "1. März")
    }

    @Test(arguments: [
        ("none", #"<a href="x">&'"#), ("html", "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"),
        ("url", "%3Ca%20href%3D%22x%22%3E%26%27"), ("json", #"<a href=\"x\">&'"#), ("shell", #"'<a href="x">&'\'''"#),
    ])
    func valuesAreEscaped(_ escape: String, expected: String) throws {
        let data = #"{"v": "<a href=\"x\">&'"}"#
        #expect(try render("{{v}}", data, #", "escape": "\#(escape)""#) == expected)
        #expect(try render("{{{v}}}", data, #", "escape": "\#(escape)""#) == #"<a href="x">&'"#)
        #expect(try render("{{#list}}{{.}}{{/list}}", #"{"list": ["<a href=\"x\">&'"]}"#, #", "escape": "\#(escape)""#) == expected)
    }

    @Test func dataIsNeverATemplate() throws {
        #expect(try render("{{v}}", #"{"v": "{{w}}", "w": "no"}"#) == "{{w}}")
    }

    @Test func whatCannotBeParsedFailsForGood() throws {
        let error = try #require(#expect(throws: HandlerError.self) { try render("\n{{#a}}") })
        #expect(!error.isRetriable)
        #expect(error.message.contains("cannot be parsed"))
    }
}
