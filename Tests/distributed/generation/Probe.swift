import RankSupport
import SwanDistributed
import SwanPipelines
import SwanSystem
import Torch

/// One rank of a job that generates videos, and checks them against those of one process.
///
/// The first argument is the scenario, the second a folder that all ranks share.
@main struct Probe: RankChecks {
    let world: World
    let folder: String

    var rank: Int { world.rank }
    var leastSize: Double { 1e-3 }

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        RankProgram.run { world in
            guard arguments.count == 2 else {
                throw SwanError(.invalidRequest, "expected a scenario and a folder")
            }
            let probe = Probe(world: try RankProgram.ranks(world), folder: arguments[1])
            try probe.run(arguments[0])
        }
    }

    private func run(_ scenario: String) throws {
        switch scenario {
        case "autoencoders": try inference { try checkAutoencoders() }
        case "models": try checkModels()
        case "divisions": try checkDivisions()
        case "shards": try checkShards()
        case "machines": try checkMachines()
        case "peak":
            try inference {
                try checkPeak()
                try checkEncoder()
            }
        case "loras": try checkLoRAs()
        case "edges": try checkEdges()
        case "failing": try fail(GenerationRanks.Division())
        case "failing-shards": try fail(Self.sharded())
        case let other: throw SwanError(.invalidRequest, "no scenario '\(other)'")
        }
    }
}
