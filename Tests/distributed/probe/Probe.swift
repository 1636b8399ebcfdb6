import Foundation
import SwanDistributed
import SwanSystem
import Torch

/// One rank of a job that checks what ranks do together. The scenario is the first argument.
@main struct Probe {
    let world: World
    let arguments: [String]

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            guard let launch = try Launch(environment: ProcessInfo.processInfo.environment) else {
                throw SwanError(.invalidRequest, "not started as a rank")
            }
            ComputeBudget(threads: 1).apply()
            let environment = ProcessInfo.processInfo.environment
            let number = environment["PROBE_AGREED_\(launch.rank)"]
            var deadlines = World.Deadlines(operation: .seconds(4))
            deadlines.start = .seconds(environment["PROBE_START"].flatMap { Int($0) } ?? 20)
            let world = try World(
                launch,
                Roster.Entry(device: "cpu", agreed: ["model": number ?? "same"]),
                deadlines
            )
            let probe = Probe(world: world, arguments: arguments)
            try world.run { try probe.run() }
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

    /// Throws unless a condition holds.
    func check(_ holds: Bool, _ what: String) throws {
        guard holds else { throw SwanError(.diverged, "rank \(world.rank): \(what)") }
    }

    /// Throws if two tensors differ by more than a limit, relative to the largest element.
    func check(_ a: Tensor, _ b: Tensor, within limit: Double, _ what: String) throws {
        try check(a.shape == b.shape, "\(what): shapes \(a.shape) and \(b.shape)")
        guard a.count > 0 else { return }
        let difference = try (a.to(.float32) - b.to(.float32)).abs().max().item()
        let size = try b.to(.float32).abs().max().item()
        try check(
            difference <= limit * max(size, 1e-3),
            "\(what): differ by \(difference) of \(size)"
        )
    }
}

extension Tensor {
    /// This tensor, for which gradients are computed.
    func requiringGradient() throws(SwanError) -> Tensor {
        try setRequiresGrad()
        return self
    }
}
