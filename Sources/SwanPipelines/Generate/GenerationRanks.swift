import Foundation
import SwanCheckpoints
package import SwanDistributed
import SwanModels
import SwanSystem
import SwanThreads
import Torch

/// The processes that generate videos together, and how they divide the work.
///
/// All ranks run the same job on the same request. The transformer's tokens and the rows of the
/// autoencoder's pictures are divided, what is small is computed by all, and texts and images are
/// encoded by rank 0, whose embeddings all use. Whatever branches on data or time is agreed.
package final class GenerationRanks: @unchecked Sendable {
    /// What users choose about the division.
    package struct Division: Sendable, Equatable {
        /// The number of ranks that exchange heads (Ulysses); nil for as many as heads allow.
        package var ulysses: Int?
        /// The number of ranks in a ring, each with its part of the keys; nil for the others.
        package var ring: Int?
        /// Whether half of the ranks compute the prompt and half the negative prompt.
        package var dividesGuidance = false
        /// What a rank keeps of the transformers' and the text encoder's blocks.
        package var shard = Sharding.none

        /// Creates a division that is decided by the number of ranks and heads.
        package init() {}
    }

    /// The processes.
    package let world: World
    /// How the work is divided.
    package let division: Division
    private let rows: RankGroups
    // `lock` protects everything below.
    let lock = NSLock()
    /// The ranks that share weights, by whether these are on the CPU.
    var shared: [Bool: ProcessGroup] = [:]
    private var made: [[Int]: FlowDivision] = [:]
    private var signal: @Sendable () -> Int32? = { nil }
    private var agreedSignal: Int32?

    /// Creates the ranks of a world.
    package init(_ world: World, _ division: Division = Division()) {
        self.world = world
        self.division = division
        rows = RankGroups(world)
    }

    /// Sets who knows the exit code of the signal that asked this process to stop, if any.
    package func reads(signal: @escaping @Sendable () -> Int32?) {
        lock.withLock { self.signal = signal }
    }

    /// Whether this process talks to the user and writes files.
    package var isFirst: Bool { world.rank == 0 }

    /// The number of processes, and of those on this machine.
    var size: Int { world.size }
    var localSize: Int { world.launch.localSize }

    /// The exit code that all ranks have agreed on, after a signal stopped one of them.
    package var stopCode: Int32? { lock.withLock { agreedSignal } }
}

// MARK: - Agreement

extension GenerationRanks {
    /// Throws a `CancellationError` on all ranks if one of them was asked to stop.
    func checkStop(_ stop: CancellationFlag) throws {
        let signal = lock.withLock { self.signal }
        let own = stop.isCancelled ? signal() ?? 128 + SIGINT : 0
        let code = try Tensor([own], [1])
        try world.group.reduce(code, .max)
        let agreed = Int32(try code.item())
        guard agreed > 0 else { return }
        lock.withLock { agreedSignal = agreed }
        throw CancellationError()
    }

    /// Returns the tensors that rank 0 makes, on the CPU; see `ProcessGroup.fromFirst`.
    func fromFirst(_ make: () throws -> [Tensor]) throws -> [Tensor] {
        try world.group.fromFirst(make)
    }

    /// Returns the largest of a number that each rank has.
    func largest(_ number: Int) throws(SwanError) -> Int {
        let result = try Tensor([number], [1])
        try world.group.reduce(result, .max)
        return try Int(result.item())
    }

    /// Throws if ranks are about to generate different videos, which would leave them waiting.
    func requireSame(
        _ plan: GenerationPlan,
        _ model: GenerationModel,
        _ request: GenerationRequest
    ) throws {
        let settings = request.settings
        let config = model.transformerConfig
        try world.group.requireSame([
            "the model": "\(model.variant.task.rawValue) of \(config.layers) x \(config.dim)",
            "the dtype": "\(model.dtype)",
            "the size": "\(plan.width)x\(plan.height), \(plan.frames) frames",
            "the list of prompts": "\(plan.prompts)",
            "the seed": "\(settings.seed)",
            "the solver": "\(plan.solver), \(plan.steps) steps, \(plan.schedule), \(plan.shift)",
            "the guidance": "\(plan.highNoiseGuidance), \(plan.lowNoiseGuidance)",
            "the boundary": "\(plan.boundaryTimestep)",
            "the batching of guidance": "\(settings.batchesGuidance ?? plan.isSmall)",
            "the cache": settings.cacheThreshold.map { "\($0)" } ?? "none",
            "the preview": settings.previewInterval.map { "\($0)" } ?? "none",
            "tiling of the autoencoder": "\(model.options.tilesVAE)",
            "the division": "\(division)",
        ])
    }
}

// MARK: - Division

/// How the flow is divided: the tokens, and the branches of guidance.
struct FlowDivision: Sendable {
    /// The ranks that share the tokens with this one; nil if it computes all.
    let sequence: SequenceParallel?
    /// This rank and the one that computes the other branch of guidance; nil if all compute both.
    let branches: ProcessGroup?
}

extension GenerationRanks {
    /// The division of a flow of `tokens` tokens for a model with `heads` heads. All ranks call
    /// this together.
    func flow(tokens: Int, heads: Int) throws -> FlowDivision {
        let branches = division.dividesGuidance ? 2 : 1
        guard world.size.isMultiple(of: branches) else {
            throw SwanError(
                .invalidRequest,
                "the branches of guidance cannot be divided among \(world.size) ranks; use an even "
                    + "number"
            )
        }
        let count = world.size / branches
        let exchanging = try exchanging(among: count)
        // Ranks beyond the number of tokens repeat what others compute.
        let width = exchanging == nil ? min(count, tokens) : count
        let key = [width, heads]
        if let known = lock.withLock({ made[key] }) { return known }
        // A new group waits in vain for a rank that has failed meanwhile; this barrier does not.
        try world.group.barrier()
        var sequence: SequenceParallel?
        for branch in 0..<branches {
            let ranks = Array(branch * count..<(branch + 1) * count)
            for part in RankGroups.slices(ranks, width: width) where part.count > 1 {
                let own = try SequenceParallel(
                    world,
                    ranks: part,
                    headCount: heads,
                    exchanging: exchanging
                )
                sequence = own ?? sequence
            }
        }
        var pair: ProcessGroup?
        for rank in 0..<count where branches == 2 {
            if let own = try world.makeGroup([rank, rank + count]) { pair = own }
        }
        let result = FlowDivision(sequence: sequence, branches: pair)
        lock.withLock { made[key] = result }
        return result
    }

    /// The number of ranks that exchange heads if users chose it, out of those that share tokens.
    private func exchanging(among count: Int) throws(SwanError) -> Int? {
        guard division.ulysses != nil || division.ring != nil else { return nil }
        for (name, value) in [("--ulysses", division.ulysses), ("--ring", division.ring)] {
            guard let value, value < 1 || !count.isMultiple(of: value) else { continue }
            throw SwanError(
                .invalidRequest,
                "\(name) \(value) does not divide the \(count) ranks that share the tokens"
            )
        }
        let ring = division.ring ?? count / max(1, division.ulysses ?? 1)
        let ulysses = division.ulysses ?? count / max(1, ring)
        guard ulysses >= 1, ring >= 1, ulysses * ring == count else {
            throw SwanError(
                .invalidRequest,
                "--ulysses \(ulysses) times --ring \(ring) must be the number of ranks that share "
                    + "the tokens, which is \(count)"
            )
        }
        return ulysses
    }

    /// Connects the ranks that share pictures with `count` rows of latents. All ranks call this
    /// together.
    func connect(rows count: Int, inTiles: Bool) throws(SwanError) {
        _ = try rows.group(of: inTiles ? world.size : count)
    }

    /// An autoencoder with the rows of its pictures, or its tiles, divided among all ranks.
    func dividing(_ vae: any VideoAutoencoder) throws(SwanError) -> any VideoAutoencoder {
        if var tiled = vae as? TiledAutoencoder {
            if let group = try rows.group(of: world.size) {
                tiled.sharing = SharedTiles(group, shapes: world.group)
            }
            return tiled
        }
        if let pair = vae as? AutoencoderPair {
            return try AutoencoderPair(
                encoding: dividing(pair.encoding),
                decoding: dividing(pair.decoding)
            )
        }
        guard let rowwise = vae as? any RowwiseAutoencoder else { return vae }
        return DividedAutoencoder(rowwise, rows)
    }
}
