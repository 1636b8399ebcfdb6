import Foundation
import SwanDistributed
import SwanSystem
import Torch

/// One rank of a job that trains, or a process alone. The scenario is the first argument.
@main struct TrainingProbe {
    let world: World?
    let arguments: [String]

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            ComputeBudget(threads: 1).apply()
            let launch = try Launch(environment: ProcessInfo.processInfo.environment)
            guard let launch else {
                try TrainingProbe(world: nil, arguments: arguments).run()
                return print("done")
            }
            var deadlines = World.Deadlines(operation: .seconds(20))
            deadlines.start = .seconds(20)
            let world = try World(launch, Roster.Entry(device: "cpu", agreed: [:]), deadlines)
            try world.run { try TrainingProbe(world: world, arguments: arguments).run() }
            print("done")
        } catch let error as SwanError {
            FileHandle.standardError.write(Data("\(error.code): \(error.message)\n".utf8))
            exit(error.code == .peerFailed ? 75 : 70)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(70)
        }
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

    /// Throws unless a condition holds.
    func check(_ holds: Bool, _ what: String) throws {
        guard holds else { throw SwanError(.diverged, "rank \(world?.rank ?? 0): \(what)") }
    }

    /// Throws if two tensors differ by more than a limit, relative to the largest element.
    func check(_ a: Tensor, _ b: Tensor, within limit: Double, _ what: String) throws {
        try check(a.shape == b.shape, "\(what): shapes \(a.shape) and \(b.shape)")
        guard a.count > 0 else { return }
        let difference = try (a.detached() - b.detached()).abs().max().item()
        let size = try b.detached().abs().max().item()
        try check(
            difference <= limit * max(size, 1e-6),
            "\(what): differ by \(difference) of \(size)"
        )
    }
}
