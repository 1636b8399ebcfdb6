import Foundation
package import SwanDistributed
import SwanModels
import SwanSystem
package import Torch
import TorchNN

/// What `swan bench distribute` measures over the ranks of a job.
package enum DistributedRow: String, Sendable, CaseIterable, Encodable {
    /// Bytes and calls of a divided transformer against the model of `CommunicationModel`.
    case traffic
    /// A transformer with its tokens divided against one rank.
    case sequence
    /// The transformer of a live stream with its blocks divided against one rank.
    case stream
}

/// Figures of one row.
package struct DistributedResult: Sendable, Encodable {
    /// The row.
    package let row: DistributedRow
    /// What was measured.
    package let work: String
    /// The figures and their bounds.
    package let figures: [Figure]

    /// Whether all figures meet their bounds.
    package var holds: Bool { figures.allSatisfy(\.holds) }

    /// The row as human-readable lines.
    package var line: String {
        let name = row.rawValue.padding(toLength: 10, withPad: " ", startingAt: 0)
        let begin = (holds ? "ok      " : "MISSED  ") + name + work
        return ([begin] + figures.map(\.text)).joined(separator: "\n        ")
    }
}

/// Measures how several ranks share a transformer: all of them run this together.
package struct DistributedBenchmark {
    let world: World
    let rounds: Int
    let device: Device

    /// Prepares a benchmark.
    ///
    /// - Parameter rounds: The number of timed rounds, of which the medians count.
    package init(_ world: World, rounds: Int, device: Device) {
        (self.world, self.rounds, self.device) = (world, rounds, device)
    }

    /// Measures a row.
    package func run(_ row: DistributedRow) throws -> DistributedResult {
        try inference {
            switch row {
            case .traffic: try traffic()
            case .sequence: try sequence()
            case .stream: try stream()
            }
        }
    }

    // MARK: - Traffic

    private func traffic() throws -> DistributedResult {
        var config = WanConfig()
        // Any number of ranks has equal shares.
        (config.dim, config.heads, config.layers) = (16 * world.size, world.size, 3)
        (config.ffnDim, config.textDim, config.textLen) = (64, 20, 12)
        let size = [2, 2 * world.size, 6]
        let figures = try [CommunicationModel.Way.ulysses, .ring].flatMap {
            try traffic($0, config, size)
        }
        return DistributedResult(
            row: .traffic,
            work:
                "a forward of \(config.layers) blocks over \(world.size) ranks, counted by rank 0",
            figures: figures
        )
    }

    private func traffic(
        _ way: CommunicationModel.Way,
        _ config: WanConfig,
        _ size: [Int]
    ) throws -> [Figure] {
        let all = Array(0..<world.size)
        guard let whole = try world.makeGroup(all), let inner = try world.makeGroup(all) else {
            return []
        }
        let sequence = SequenceParallel(
            whole,
            heads: way == .ulysses ? inner : nil,
            ring: way == .ring ? inner : nil
        )
        let network = try WanTransformer(Weights(try MadeWeights.random(), device: device), config)
        try forward(network, config, size, sequence)
        let tokens = size[0] * (size[1] / 2) * (size[2] / 2)
        let work = CommunicationModel.Workload(name: "", config: config, tokens: tokens)
        // The model counts in bfloat16.
        let expected = (2 * CommunicationModel.bytes(way, work, ranks: world.size)).rounded()
        let calls = CommunicationModel.exchanges(way, work, ranks: world.size)
        let counted = inner.traffic[.exchange]
        let others = CommunicationModel.otherCalls(whole.traffic, inner.traffic)
        return [
            Figure(
                "\(way): bytes over the model's",
                Double(counted.bytes) / expected,
                "",
                .within(1...1)
            ),
            Figure(
                "\(way): exchanges a block",
                Double(counted.calls) / Double(config.layers),
                "",
                .within(calls / Double(config.layers)...calls / Double(config.layers))
            ),
            Figure("\(way): gathers", Double(whole.traffic[.gather].calls), "", .within(1...1)),
            Figure("\(way): other calls", Double(others), "", .within(0...0)),
        ]
    }

    private func forward(
        _ network: WanTransformer,
        _ config: WanConfig,
        _ size: [Int],
        _ sequence: SequenceParallel?
    ) throws {
        let generator = try Generator(seed: 0)
        let latents = try Tensor.randn([1, config.inDim] + size, generator).to(device)
        let text = try network.text(
            Tensor.randn([1, config.textLen, config.textDim], generator).to(device)
        )
        let steps = try Tensor([700] as [Double], [1, 1]).to(device)
        if let sequence {
            _ = try network(latents, timesteps: steps, text: text, dividing: sequence)
        } else {
            _ = try network(latents, timesteps: steps, text: text)
        }
    }

    // MARK: - Time

    private func sequence() throws -> DistributedResult {
        var config = WanConfig.wan1_3B
        config.layers = 4
        let size = [2, 30, 52]
        let weights = Weights(try MadeWeights.random(), device: device)
        let network = try WanTransformer(weights, config)
        guard
            let sequence = try SequenceParallel(
                world,
                ranks: Array(0..<world.size),
                headCount: config.heads
            )
        else { throw SwanError(.diverged, "rank \(world.rank) has no group") }
        let one = try time(alone: true) { try forward(network, config, size, nil) }
        let all = try time(alone: false) { try forward(network, config, size, sequence) }
        let tokens = size[0] * (size[1] / 2) * (size[2] / 2)
        return DistributedResult(
            row: .sequence,
            work: "\(config.layers) blocks of 1.3B, \(tokens) tokens, \(world.size) ranks with "
                + "\(Engine.threads) thread\(Engine.threads == 1 ? "" : "s") each",
            figures: [
                Figure("one rank", one * 1_000, "ms"), Figure("all ranks", all * 1_000, "ms"),
                Figure("speedup", one / all, "", .atLeast(0.75 * Double(world.size))),
            ]
        )
    }

    /// The median of rounds after one that does not count, as rank 0 sees it.
    ///
    /// - Parameter alone: Whether rank 0 works while the others wait.
    private func time(alone: Bool, _ round: () throws -> Void) throws -> Double {
        var times: [Double] = []
        for index in 0...rounds {
            try world.group.barrier()
            let start = ContinuousClock.now
            if !alone || world.rank == 0 {
                try round()
                try Engine.synchronize(device)
            }
            if index > 0 { times.append((ContinuousClock.now - start).seconds) }
        }
        try world.group.barrier()
        return times.sorted()[times.count / 2]
    }
}

extension CommunicationModel {
    /// The calls of groups that are neither an exchange nor a gather.
    fileprivate static func otherCalls(_ groups: Traffic...) -> Int {
        let kinds = Traffic.Kind.allCases.filter { $0 != .exchange && $0 != .gather }
        return groups.reduce(0) { sum, traffic in
            sum + kinds.reduce(0) { $0 + traffic[$1].calls }
        }
    }
}
