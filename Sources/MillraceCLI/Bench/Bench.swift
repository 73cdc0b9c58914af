import ArgumentParser

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure the engine on this machine.",
        discussion: "Work on a database that does nothing else meanwhile.",
        subcommands: [
            Throughput.self, Latency.self, Readiness.self, EventsBench.self, Replay.self, Mixed.self, Stress.self,
            Spike.self, Soak.self,
        ]
    )
}
