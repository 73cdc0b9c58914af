import ArgumentParser
import Foundation
import Millrace

/// The shape of a workflow to measure with.
enum Shape: ExpressibleByArgument, Sendable {
    /// One step.
    case single
    /// A row of steps, each needing the one before.
    case chain(Int)
    /// One step, as many side by side, one that needs them all.
    case diamond(Int)
    /// As many steps that need up to three of those before them; the same ones each time.
    case random(Int)
    /// A definition file, or a recorded run in WfFormat.
    case file(String)

    init?(argument: String) {
        let parts = argument.split(separator: ":", maxSplits: 1)
        let size = parts.count == 2 ? Int(parts[1]).flatMap { 1...1_000_000 ~= $0 ? $0 : nil } : nil
        switch (parts.first, size) {
        case ("single", nil) where parts.count == 1: self = .single
        case ("chain", let size?): self = .chain(size)
        case ("diamond", let size?): self = .diamond(size)
        case ("random", let size?): self = .random(size)
        case _ where FileManager.default.fileExists(atPath: argument): self = .file(argument)
        default: return nil
        }
    }

    var name: String {
        switch self {
        case .single: "single"
        case .chain(let length): "chain:\(length)"
        case .diamond(let width): "diamond:\(width)"
        case .random(let size): "random:\(size)"
        case .file(let path): path
        }
    }

    func definition(handler: String) throws -> WorkflowDefinition {
        switch self {
        case .single: return make([[]], handler)
        case .chain(let length): return make((0..<length).map { $0 == 0 ? [] : [$0 - 1] }, handler)
        case .diamond(let width): return make([[]] + Array(repeating: [0], count: width) + [Array(1...width)], handler)
        case .random(let size): return make(Self.randomNeeds(size), handler)
        case .file(let path):
            let recorded = try? WorkflowDefinition.load(path, format: .wfformat, timeScale: 0)
            return try recorded ?? WorkflowDefinition.load(path)
        }
    }

    private func make(_ needs: [[Int]], _ handler: String) -> WorkflowDefinition {
        let steps = needs.enumerated().map { number, needs in
            WorkflowDefinition.Step(key: "s\(number)", handler: handler, needs: needs.map { "s\($0)" })
        }
        return WorkflowDefinition(name: "bench.\(name)", steps: steps)
    }

    private static func randomNeeds(_ size: Int) -> [[Int]] {
        var generator = SplitMix(state: 42)
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

    /// The same numbers in every run, so that figures can be compared.
    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
            return mixed ^ (mixed >> 31)
        }
    }
}
