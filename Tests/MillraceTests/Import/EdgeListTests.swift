import Millrace
import Testing

@Suite("Edge lists")
struct EdgeListTests {
    private static let diamond = ["a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]]

    @Test(
        "Each way to write a diamond is the same diamond",
        arguments: [
            "a,b\na,c\nb,d\nc,d\n",
            "from,to\na,b\na,c\nb,d\nc,d",
            "Source;Target\r\na;b\r\na;c\r\nb;d\r\nc;d\r\n",
            "child,parent,weight\nb,a,1\nc,a,2\nd,b,3\nd,c,4\n",
            "\u{feff}upstream\tdownstream\na\tb\na\tc\nb\td\nc\td\n",
            "task,depends_on\nb,a\nc,a\nd,b\nd,c\n",
            "key,needs\na,\nb,a\nc,a\nd,\"b,c\"\n",
            "job;dependencies\na\nb;a\nc;a\nd;b | c\n",
            "task,needs\nd,b c\na,\nc,a\nb,a\n",
            "# a comment\n\nstep,downstream\na,b;c\nb,d\nc,d\n",
            "predecessor,successor\n\"a\",\"b\"\na, c\n b ,d\nc,d\nc,d\n",
        ]
    )
    func diamond(text: String) throws {
        #expect(try Imports.read(text, .csv).needs == Self.diamond)
    }

    @Test("Fields of a step")
    func fields() throws {
        let steps = try Imports.load("tasks.tsv", .tsv) { $0.timeScale = 2 }
        #expect(
            steps.definition.steps == [
                .init(key: "fetch", handler: "sleep", expected: 4),
                .init(key: "parse", handler: "sleep", needs: ["fetch"], expected: 3),
                .init(key: "check", handler: "noop", needs: ["fetch", "parse"]),
                .init(key: "store", handler: "sleep", needs: ["parse", "check"], expected: 0),
            ]
        )
        #expect(steps.leftBehind.map(\.subject) == ["column owner"])
        #expect(
            try Imports.load("tasks.tsv", .tsv) { $0.timeScale = 0 }.definition.steps.allSatisfy {
                $0.handler == "noop"
            }
        )
    }

    @Test("Names may hold what separates them, and steps may stand alone")
    func quotations() throws {
        let edges = try Imports.load("edges.csv", .csv)
        #expect(
            edges.needs == [
                "unload, sort": [], "clean": ["unload, sort"], "people": [], "join": ["clean", "people"],
                "report": ["join"],
                "alone": [],
            ]
        )
        #expect(edges.definition.name == "edges")
        let odd = try Imports.read("from,to\n\"say \"\"so\"\"\",\"two\nlines\"\n", .csv)
        #expect(odd.needs == ["say \"so\"": [], "two\nlines": ["say \"so\""]])
    }

    @Test("Arrows may lead the other way")
    func reversed() throws {
        #expect(try Imports.read("b,a\nc,a\nd,b\nd,c\n", .csv) { $0.isReversed = true }.needs == Self.diamond)
    }

    @Test("Commands are executed only when they are asked for")
    func commands() throws {
        let text = "key,needs,command\na,,rm -rf /\nb,a,make\n"
        let quiet = try Imports.read(text, .csv)
        #expect(quiet.definition.steps.map(\.handler) == ["noop", "noop"])
        #expect(!quiet.definition.json.contains("rm"))
        #expect(quiet.leftBehind.count == 2)
        let shell = try Imports.read(text, .csv) { $0.handler = .shell }
        #expect(try shell.steps["a"]?["with"] == .object(["command": .string("rm -rf /")]))
        let named = try Imports.read(text, .csv) { $0.handler = .named("maker") }
        #expect(named.definition.steps.map(\.handler) == ["maker", "maker"])
    }

    @Test(
        "What is wrong has its line",
        arguments: [
            ("", "The list is empty"),
            ("a,b,c\n", "1:1: Without a header a row has two columns"),
            ("from,to\na,b\na,b,c\n", "3:1: The row has 3 fields, but there are 2 columns"),
            ("from,to\n\"a,b\nc,d\n", "2:1: The quotation that begins in this row does not end"),
            ("from,to\n\"a\"x,b\n", "2:1: Something stands behind a quotation"),
            ("key,duration\na,1\nb,soon\n", "3:1: step b: \"soon\" is no number of seconds"),
            ("key,duration\na,-1\n", "2:1: step a: \"-1\" is no number of seconds"),
            ("key,needs\n,a\n", "2:1: The row names no step"),
            ("from,to,source\na,b,c\n", "1:1: column source: Another column says the same"),
        ]
    )
    func wrong(text: String, message: String) throws {
        #expect(try Imports.refusal(text, .csv).description.contains(message))
    }

    @Test("All that is wrong is said at once")
    func all() throws {
        let error = try Imports.refusal("key,duration\na,x\nb,y\nc,1,2\n", .csv)
        #expect(error.code == .malformed)
        #expect(error.detail?.split(separator: "\n").count == 3)
    }

    @Test("The server names rings, and needs that no step is")
    func server() async throws {
        try await ImportServer.with { server in
            let ring = try await server.client.validate(Imports.read("a,b\nb,c\nc,a\n", .csv).definition)
            #expect(ring.map(\.code) == ["MR106"] && ring[0].message.contains("a -> "))
            let unknown = try await server.client.validate(Imports.read("key,needs\na,\nb,missing\n", .csv).definition)
            #expect(unknown.map(\.code) == ["MR104"] && unknown[0].message.contains("missing"))
            let own = try await server.client.validate(Imports.read("a,a\n", .csv).definition)
            #expect(own.map(\.code) == ["MR105"])
        }
    }
}
