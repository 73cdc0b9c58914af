import Foundation
import Millrace
import Testing

/// Random graphs, written in each language of graphs and read again.
@Suite("Round trips of imports")
struct RoundTripTests {
    private struct Graph {
        var names: [String]
        var needs: [[Int]]

        /// Acyclic: a step needs only what stands before it in an order of its own.
        init(_ random: inout Generator) {
            let alphabet = Array("abcXYZ019 _-.,;\"'|\\äß日{}[]<>=/#:")
            let count = Int.random(in: 1...40, using: &random)
            names = (0..<count).map { number in
                let length = Int.random(in: 0...8, using: &random)
                let text = String((0..<length).map { _ in alphabet.randomElement(using: &random)! })
                return "s\(number)\(text)e"
            }
            needs = (0..<count).map { number in
                (0..<number).filter { _ in Int.random(in: 0..<100, using: &random) < 12 }
            }
        }

        var expected: [String: Set<String>] {
            Dictionary(uniqueKeysWithValues: zip(names, needs).map { ($0, Set($1.map { names[$0] })) })
        }

        /// Pairs of from and to, in any order, and steps that have none.
        func edges(_ random: inout Generator) -> (pairs: [(Int, Int)], alone: [Int]) {
            let pairs = needs.indices.flatMap { to in needs[to].map { ($0, to) } }.shuffled(using: &random)
            let named = Set(pairs.flatMap { [$0.0, $0.1] })
            return (pairs, names.indices.filter { !named.contains($0) })
        }
    }

    private static func expect(_ graph: Graph, _ imported: ImportedDefinition, _ seed: UInt64) {
        let read = Dictionary(uniqueKeysWithValues: imported.definition.steps.map { ($0.key, Set($0.needs)) })
        #expect(read == graph.expected, "seed \(seed)")
        #expect(imported.definition.steps.allSatisfy { $0.needs.count == Set($0.needs).count }, "seed \(seed)")
    }

    @Test("Edges and tables of steps as separated values")
    func csv() throws {
        for seed in UInt64(1)...200 {
            var random = Generator(state: seed)
            let graph = Graph(&random)
            let separator = [",", ";", "\t"].randomElement(using: &random)!
            let quoted = graph.names.map { "\"\($0.replacing("\"", with: "\"\""))\"" }
            let (pairs, alone) = graph.edges(&random)
            let rows =
                pairs.map { "\(quoted[$0.0])\(separator)\(quoted[$0.1])" } + alone.map { "\(quoted[$0])\(separator)" }
            let text = (["from\(separator)to"] + rows.shuffled(using: &random)).joined(separator: "\r\n")
            Self.expect(graph, try Imports.read(text, separator == "\t" ? .tsv : .csv), seed)

            let backwards =
                pairs.map { "\(quoted[$0.1])\(separator)\(quoted[$0.0])" } + alone.map { "\(quoted[$0])\(separator)" }
            let other = (["source\(separator)target"] + backwards).joined(separator: "\n")
            Self.expect(graph, try Imports.read(other, separator == "\t" ? .tsv : .csv) { $0.isReversed = true }, seed)
        }
    }

    @Test("DOT")
    func dot() throws {
        for seed in UInt64(1)...200 {
            var random = Generator(state: seed)
            let graph = Graph(&random)
            // In DOT only a quotation mark is escaped; a name must not end in what would escape the next one.
            let quoted = graph.names.map { "\"\($0.replacing("\\\"", with: "\\ \"").replacing("\"", with: "\\\""))\"" }
            var expected = graph
            expected.names = graph.names.map { $0.replacing("\\\"", with: "\\ \"") }
            let (pairs, alone) = graph.edges(&random)
            var statements = pairs.map { "\(quoted[$0.0]) -> \(quoted[$0.1])" } + alone.map { quoted[$0] }
            if let both = pairs.first {
                statements.append("{ \(quoted[both.0]) } -> { \(quoted[both.1]) \(quoted[both.1]) }")
            }
            statements.shuffle(using: &random)
            let text =
                "digraph {\n" + statements.joined(separator: ["\n", ";", " ; // x\n"].randomElement(using: &random)!)
                + "\n}"
            Self.expect(expected, try Imports.read(text, .dot), seed)
        }
    }

    @Test("ninja's graphs")
    func ninja() throws {
        for seed in UInt64(1)...200 {
            var random = Generator(state: seed)
            var graph = Graph(&random)
            graph.names = graph.names.map { $0.replacing("\"", with: "").replacing("\\", with: "/") }
            var lines = ["digraph ninja {", "rankdir=\"LR\""]
            for (number, needs) in graph.needs.enumerated() {
                lines.append("\"f\(number)\" [label=\"\(graph.names[number])\"]")
                // A source, which is no step.
                lines.append("\"s\(number)\" [label=\"\(number).c\"]")
                if needs.count == 1 && Bool.random(using: &random) {
                    lines.append("\"f\(needs[0])\" -> \"f\(number)\" [label=\" cc\"]")
                    continue
                }
                lines.append("\"c\(number)\" [label=\"cc\", shape=ellipse]")
                lines.append("\"c\(number)\" -> \"f\(number)\"")
                lines.append("\"s\(number)\" -> \"c\(number)\" [arrowhead=none]")
                for need in needs { lines.append("\"f\(need)\" -> \"c\(number)\" [arrowhead=none style=dotted]") }
            }
            lines.append("}")
            Self.expect(graph, try Imports.read(lines.joined(separator: "\n"), .ninja), seed)
        }
    }

    @Test("The server takes them as they are")
    func server() async throws {
        try await ImportServer.with { server in
            for seed in UInt64(1)...20 {
                var random = Generator(state: seed)
                let graph = Graph(&random)
                let (pairs, alone) = graph.edges(&random)
                let rows = pairs.map { "n\($0.0),n\($0.1)" } + alone.map { "n\($0)," }
                let imported = try Imports.read((["from,to"] + rows).joined(separator: "\n"), .csv) {
                    $0.name = "seed-\(seed)"
                }
                let defined = try await server.client.define(imported.definition)
                #expect(defined.steps == graph.names.count && defined.edges == pairs.count)
            }
        }
    }
}
