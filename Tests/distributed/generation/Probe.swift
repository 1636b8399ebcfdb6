import Foundation
import SwanDistributed
import SwanSystem
import Torch

/// One rank of a job that generates videos, and checks them against those of one process.
///
/// The first argument is the scenario, the second a folder that all ranks share.
@main struct Probe {
    let world: World
    let folder: String

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            guard let launch = try Launch(environment: ProcessInfo.processInfo.environment),
                arguments.count == 2
            else { throw SwanError(.invalidRequest, "not started as a rank of a scenario") }
            ComputeBudget(threads: 1).apply()
            var deadlines = World.Deadlines(operation: .seconds(20))
            deadlines.start = .seconds(20)
            let world = try World(launch, Roster.Entry(device: "cpu", agreed: [:]), deadlines)
            let probe = Probe(world: world, folder: arguments[1])
            try world.run { try probe.run(arguments[0]) }
            print("done")
        } catch let error as SwanError {
            FileHandle.standardError.write(Data("\(error.code): \(error.message)\n".utf8))
            exit(error.code == .peerFailed ? 75 : 70)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(70)
        }
    }

    private func run(_ scenario: String) throws {
        switch scenario {
        case "autoencoders": try inference { try checkAutoencoders() }
        case "models": try checkModels()
        case "divisions": try checkDivisions()
        case "edges": try checkEdges()
        case "failing": try fail()
        case let other: throw SwanError(.invalidRequest, "no scenario '\(other)'")
        }
    }

    /// Throws unless a condition holds.
    func check(_ holds: Bool, _ what: String) throws {
        guard holds else { throw SwanError(.diverged, "rank \(world.rank): \(what)") }
    }

    /// Throws if two tensors differ by more than a limit, relative to the largest element.
    func check(_ a: Tensor, _ b: Tensor, within limit: Double, _ what: String) throws {
        try check(a.shape == b.shape, "\(what): shapes \(a.shape) and \(b.shape)")
        try check(a.isAllFinite(), "\(what): not finite")
        let difference = try (a - b).abs().max().item()
        let size = try b.abs().max().item()
        try check(difference <= limit * size, "\(what): differ by \(difference) of \(size)")
        try check(size > 1e-3, "\(what): nothing is there")
    }
}
