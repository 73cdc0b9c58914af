import ArgumentParser
import Foundation
import Millrace

/// The shape of a workflow to measure with.
package enum Shape: ExpressibleByArgument, Sendable {
    /// One step.
    case single
    /// A row of steps, each needing the one before.
    case chain(Int)
    /// One step, as many side by side, one that needs them all.
    case diamond(Int)
    /// As many steps that need up to three of those before them; the same ones for the same seed.
    case random(Int, seed: UInt64)
    /// A definition file, or a recorded run in WfFormat.
    case file(String)

    package init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        let size = parts.count > 1 ? Int(parts[1]).flatMap { 1...1_000_000 ~= $0 ? $0 : nil } : nil
        switch (parts[0], size, parts.count) {
        case ("single", _, 1): self = .single
        case ("chain", let size?, 2): self = .chain(size)
        case ("diamond", let size?, 2): self = .diamond(size)
        case ("random", let size?, 2): self = .random(size, seed: 42)
        case ("random", let size?, 3):
            guard let seed = UInt64(parts[2]) else { return nil }
            self = .random(size, seed: seed)
        case _ where FileManager.default.fileExists(atPath: argument): self = .file(argument)
        default: return nil
        }
    }

    package var name: String {
        switch self {
        case .single: "single"
        case .chain(let length): "chain:\(length)"
        case .diamond(let width): "diamond:\(width)"
        case .random(let size, 42): "random:\(size)"
        case .random(let size, let seed): "random:\(size):\(seed)"
        case .file(let path): path
        }
    }

    /// What each step does.
    struct Work: Sendable {
        var handler: String
        var settings: [String: JSONValue]?

        static let noop = Work(handler: "noop")

        static func sleep(_ duration: Duration) -> Work {
            Work(handler: "sleep", settings: ["seconds": .number(duration / .seconds(1))])
        }
    }

    /// The workflow. A file brings its own handlers; recorded steps do nothing.
    func definition(_ work: Work) throws -> WorkflowDefinition {
        if case .file(let path) = self {
            let recorded = try? WorkflowDefinition.load(path, format: .wfformat, timeScale: 0)
            return try recorded ?? WorkflowDefinition.load(path)
        }
        let steps = needs.enumerated().map { number, needs in
            WorkflowDefinition.Step(key: "s\(number)", handler: work.handler, needs: needs.map { "s\($0)" })
        }
        return WorkflowDefinition(name: "bench.\(name)", steps: steps) { _ in work.settings }
    }

    /// The needs of each step; of what is in no file.
    package var needs: [[Int]] {
        switch self {
        case .single: [[]]
        case .chain(let length): (0..<length).map { $0 == 0 ? [] : [$0 - 1] }
        case .diamond(let width): [[]] + Array(repeating: [0], count: width) + [Array(1...width)]
        case .random(let size, let seed): Self.randomNeeds(size, seed)
        case .file: []
        }
    }

    private static func randomNeeds(_ size: Int, _ seed: UInt64) -> [[Int]] {
        var generator = SplitMix(state: seed)
        return (0..<size).map { number in
            guard number > 0 else { return [] }
            let nearest = max(0, number - 20)
            return Set(
                (0..<Int.random(in: 0...3, using: &generator)).map { _ in
                    Int.random(in: nearest..<number, using: &generator)
                }
            ).sorted()
        }
    }
}

/// The same numbers in every run, so that figures can be compared.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
