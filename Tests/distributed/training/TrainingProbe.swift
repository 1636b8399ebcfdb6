import RankSupport
import SwanDistributed
import SwanSystem

/// One rank of a job that trains, or a process alone. The scenario is the first argument.
@main struct TrainingProbe: RankChecks {
    let world: World?
    let arguments: [String]

    var rank: Int { world?.rank ?? 0 }

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        RankProgram.run { world in try TrainingProbe(world: world, arguments: arguments).run() }
    }

    private func run() throws {
        switch arguments.first ?? "" {
        case "shards": try checkShards()
        case "peak": try checkPeak()
        case "flow": try trainFlow()
        case "recipe": try trainRecipe()
        case "write": try writeRecipe()
        case "compare": try compare()
        case let other: throw SwanError(.invalidRequest, "no scenario '\(other)'")
        }
    }

    /// The value of an argument NAME=VALUE.
    func argument(_ name: String) -> String? {
        arguments.first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
    }
}
