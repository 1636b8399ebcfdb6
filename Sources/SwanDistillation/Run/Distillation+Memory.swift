import SwanDistributed
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// What a distillation keeps in memory, and whether that fits.
struct DistillationMemory {
    let settings: DistillationSettings
    let model, teacher: WanParts
    /// The shape of the data's states [T, F, C, H, W]; nil for prompts alone.
    let data: [Int]?
    let ranks: Int
    /// The ranks on this machine, which share its memory.
    let local: Int
    let threads: Int
    let device: Device

    /// The need, or what it would be with other settings.
    ///
    /// - Parameters:
    ///   - isRecomputed: Whether activations are computed again; always so with weights in parts.
    ///   - shards: The ranks that keep a part of the weights each.
    func need(isRecomputed: Bool, shards: Int, of size: Int) throws -> TrainingMemory {
        let isRecomputed = isRecomputed || shards > 1
        var division = TrainingMemory.Division()
        division.microBatches = settings.accumulation
        division.atOnce = size == 1 && device == .cpu ? min(settings.accumulation, threads) : 1
        (division.ranks, division.shards) = (size, shards)
        division.keepsFreedMemory = device == .cpu && !isRecomputed
        let isMatching = settings.loss != .ode
        let names = isMatching ? ["generator", "critic"] : ["generator"]
        let trained = try names.map { try self.trained($0) }
        return TrainingMemory(
            trained,
            frozenBytes: try frozenBytes(isMatching),
            activations: activations(isMatching, isRecomputed),
            dataBytes: dataBytes,
            division
        )
    }

    /// The need of this run.
    func need() throws -> TrainingMemory {
        try need(isRecomputed: settings.checkpointsGradients, shards: shards, of: ranks)
    }

    private var shards: Int {
        switch settings.sharding {
        case .none: 1
        case .hybrid: min(local, ranks)
        case .full: ranks
        }
    }

    /// Throws `outOfMemory` with what would fit, if this run does not.
    ///
    /// - Parameter available: The memory of this machine or its container; nil if unknown.
    func require(in available: Int?) throws {
        let needed = try need()
        let own = available.map { $0 / max(1, local) }
        guard let own, needed.total > own else { return }
        var remedies: [(String, TrainingMemory)] = []
        if !settings.checkpointsGradients, shards == 1 {
            remedies.append(
                (
                    "gradient_checkpointing: true",
                    try need(isRecomputed: true, shards: 1, of: ranks)
                )
            )
        }
        if ranks > 1, settings.sharding != .full {
            remedies.append(
                ("sharding_strategy: full", try need(isRecomputed: true, shards: ranks, of: ranks))
            )
        }
        for size in [2, 4, 8, 16, 32, 64] where size > ranks {
            let memory = try need(isRecomputed: true, shards: size, of: size)
            guard memory.total <= available ?? 0 else { continue }
            remedies.append(
                ("\(size) machines or devices with this memory and sharding_strategy: full", memory)
            )
            break
        }
        try needed.require(in: own, remedies: remedies)
    }

    // MARK: - Parts

    private var dtype: DType { settings.usesBFloat16 ? .bfloat16 : .float32 }

    private func trained(_ name: String) throws(SwanError) -> TrainingMemory.Trained {
        let config = model.config
        let weights = try model.weightCount
        let layer = weights / max(1, config.layers)
        // Queries, keys and values are multiplied together.
        let fused = 3 * config.dim * config.dim * config.layers * DType.float32.size
        return TrainingMemory.Trained(
            name,
            weights: weights,
            largestLayer: layer,
            derivedBytes: settings.usesBFloat16 ? weights * dtype.size : fused
        )
    }

    private func frozenBytes(_ isMatching: Bool) throws -> Int {
        let text = try model.textEncoderWeightCount * dtype.size
        guard isMatching else { return text }
        return try text + teacher.weightCount * dtype.size
    }

    private var latents: [Int] {
        // Both begin with another number: the batch, or the states of a row.
        let shape = settings.shape ?? data ?? [1, 1, model.config.inDim, 1, 1]
        return [settings.batch, shape[2], shape[1], shape[3], shape[4]]
    }

    private func activations(_ isMatching: Bool, _ isRecomputed: Bool) -> (kept: Int, passing: Int)
    {
        func needs(_ latents: [Int], atOnce: Int? = nil) -> WanActivations {
            WanActivations(
                model.config,
                latents: latents,
                framesAtOnce: atOnce,
                bytes: dtype.size,
                isRecomputed: isRecomputed
            )
        }
        guard isMatching else {
            let own = needs(latents)
            return (own.kept, own.passing)
        }
        let scores = needs(latents)
        var made = latents
        made[2] = max(made[2], settings.trainingFrames ?? 0)
        let isRolledOut = settings.rolloutOptions != nil
        let own = needs(made, atOnce: isRolledOut ? settings.framesPerBlock : nil)
        let score = WanActivations(
            teacher.config,
            latents: latents,
            bytes: dtype.size,
            isRecomputed: isRecomputed
        ).unrecorded
        // The scores are computed while the generator's activations wait; score identity records
        // them, too.
        var generator = own.kept + max(own.passing, score)
        if settings.loss == .sid { generator += 2 * scores.kept }
        let critic = scores.kept + max(scores.passing, own.unrecorded)
        let kept = max(own.kept, scores.kept)
        return (kept, max(generator, critic) - kept)
    }

    /// Four micro-batches wait, each with a copy in another order.
    private var dataBytes: Int {
        guard let data else { return 0 }
        return 8 * settings.batch * 4 * data.reduce(1, *)
    }
}
