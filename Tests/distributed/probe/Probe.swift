import Foundation
import RankSupport
import SwanDistributed
import SwanSystem
import Torch

/// One rank of a job that checks what ranks do together. The scenario is the first argument.
@main struct Probe: RankChecks {
    let world: World
    let arguments: [String]

    var rank: Int { world.rank }

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let environment = ProcessInfo.processInfo.environment
        RankProgram.run(
            operation: .seconds(4),
            start: .seconds(environment["PROBE_START"].flatMap { Int($0) } ?? 20),
            agreed: { ["model": environment["PROBE_AGREED_\($0)"] ?? "same"] },
            { world in
                try Probe(world: RankProgram.ranks(world), arguments: arguments).run()
            }
        )
    }

    private func run() throws {
        switch arguments.first ?? "" {
        case "collectives": try checkCollectives()
        case "attention": try checkAttention()
        case "transformers": try checkTransformers()
        case "failing": try fail()
        case "running": try exchange(steps: Int(arguments.dropFirst().first ?? "") ?? 40) { _ in }
        case "oversized": try sendTooMuch()
        case "tail": try workAlone()
        case let other: throw SwanError(.invalidRequest, "no scenario '\(other)'")
        }
    }
}

extension Tensor {
    /// This tensor, for which gradients are computed.
    func requiringGradient() throws(SwanError) -> Tensor {
        try setRequiresGrad()
        return self
    }
}
