/// Any directed graph in Graphviz' language: a step a node, from tail to head.
struct DOTImporter: Importer {
    /// What a node may say of its step, by the attribute's name.
    private static let seconds = ["seconds", "duration", "runtime", "expected"]

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        let graph = try DOTGraph(file.text)
        guard graph.isDirected || graph.edges.isEmpty else {
            throw MillraceError(
                .unsupported,
                "The graph is undirected: its edges do not say which step comes first.",
                hint: "Write digraph and ->."
            )
        }
        guard !graph.nodes.isEmpty else { throw MillraceError(.malformed, "The graph has no nodes.") }
        var list = StepList(options)
        for node in graph.nodes {
            list.add(node.id)
            let named = Self.seconds.compactMap { node.attributes[$0] }.first
            let seconds = named.flatMap(Double.init)
            if let named, seconds.map({ $0 < 0 || !$0.isFinite }) ?? true {
                findings.mistake("node \(node.id)", "\"\(named)\" is no number of seconds.", at: node.place)
            }
            list.work(
                node.id,
                StepList.Work(
                    seconds: seconds,
                    queue: node.attributes["queue"] ?? "",
                    command: node.attributes["command"] ?? "",
                    description: label(of: node)
                ),
                at: node.place,
                findings
            )
        }
        for edge in graph.edges {
            let (from, to) = (graph.nodes[edge.from].id, graph.nodes[edge.to].id)
            if edge.attributes["style"] == "invis" {
                findings.leaveBehind(
                    "edge \(from) -> \(to)",
                    "It is invisible: it arranges the drawing.",
                    at: edge.place
                )
                continue
            }
            switch edge.attributes["dir"] ?? "forward" {
            case "back": list.addEdge(from: to, to: from)
            case "forward": list.addEdge(from: from, to: to)
            default:
                findings.refuse(
                    "dir",
                    "edge \(from) -> \(to)",
                    "Its arrow does not say which step comes first.",
                    at: edge.place
                )
            }
        }
        return ImportedWorkflow(name: graph.name, steps: list.steps)
    }

    /// Plain text of the label, where it is not the name again.
    private static func label(of node: DOTGraph.Node) -> String {
        guard let label = node.attributes["label"], label != "\\N", !label.hasPrefix("<") else { return "" }
        return label.replacing("\\n", with: " ").replacing("\\l", with: " ").replacing("\\r", with: " ").trimmed
    }
}

/// What `ninja -t graph` prints: files and the commands that make them.
///
/// A step a command, called by the first file that it makes; it needs the commands that make what it reads, first or
/// behind `|` or `||`. Files that no command makes are there already.
struct NinjaImporter: Importer {
    private struct Command {
        var rule: String
        var inputs: [Int] = []
        var outputs: [Int] = []
        var place: DefinitionPlaces.Place
    }

    static func workflow(in file: ImportFile, _ options: ImportOptions, _ findings: ImportFindings)
        throws(MillraceError) -> ImportedWorkflow
    {
        let graph = try DOTGraph(file.text)
        guard graph.isDirected, graph.nodes.allSatisfy({ $0.attributes["label"] != nil }) else {
            throw MillraceError(
                .malformed,
                "This is not what ninja -t graph prints: its nodes have no labels.",
                hint: "Any other graph is brought in with --format dot."
            )
        }
        if options.handler == .shell {
            findings.refuse("commands", "", "The graph of ninja names files and rules; their commands are not in it.")
        }
        let commands = commands(of: graph)
        guard !commands.isEmpty else { throw MillraceError(.malformed, "The graph has no commands.") }
        func name(_ node: Int) -> String { graph.nodes[node].attributes["label"] ?? "" }

        var makers: [Int: Int] = [:]
        for (number, command) in commands.enumerated() {
            if command.outputs.isEmpty {
                findings.mistake("rule \(command.rule)", "A command makes no file.", at: command.place)
            }
            for output in command.outputs where makers.updateValue(number, forKey: output) != nil {
                findings.mistake("file \(name(output))", "Two commands make it.", at: command.place)
            }
        }
        let keys = commands.map { $0.outputs.first.map(name) ?? "" }
        let steps = zip(commands, keys).map { command, key in
            var step = ImportedStep(key: key)
            step.description = command.rule
            step.need(command.inputs.compactMap { makers[$0] }.map { keys[$0] })
            step.work(options)
            return step
        }
        return ImportedWorkflow(name: "", steps: steps)
    }

    /// A command is an ellipse between its files, or, where it makes one file of one, the label of the arrow.
    private static func commands(of graph: DOTGraph) -> [Command] {
        var commands: [Command] = []
        var numbers: [Int: Int] = [:]
        for (node, number) in zip(graph.nodes, 0...) where node.attributes["shape"] == "ellipse" {
            numbers[number] = commands.count
            commands.append(Command(rule: (node.attributes["label"] ?? "").trimmed, place: node.place))
        }
        for edge in graph.edges {
            if let command = numbers[edge.from] {
                commands[command].outputs.append(edge.to)
            } else if let command = numbers[edge.to] {
                commands[command].inputs.append(edge.from)
            } else {
                let rule = (edge.attributes["label"] ?? "").trimmed
                commands.append(Command(rule: rule, inputs: [edge.from], outputs: [edge.to], place: edge.place))
            }
        }
        return commands
    }
}
