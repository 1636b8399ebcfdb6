import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSchedulers
import SwanSystem
import Torch
import TorchNN

/// A text-to-video model that is asked for the flow of videos of one latent frame.
final class PictureTeacher: Sendable {
    let model: TeacherModel
    let device: Device
    private let dtype: DType
    private let experts: [ModelFolder.Part: WanTransformer]
    /// The transformer for all timesteps; nil for the right one at each.
    private let only: ModelFolder.Part?
    private let guidance: Double?
    /// The embedding of the negative prompt [1, M, D].
    private let negative: Tensor

    /// What a teacher's flow depends on besides its weights.
    struct Options: Sendable {
        var dtype = DType.float32
        /// Guidance at all noise levels; nil for the teacher's own.
        var guidance: Double?
        /// Whether one expert is used throughout, as published.
        var isParity = false
    }

    /// Loads the transformers, whose matrices stay in their dtype.
    ///
    /// - Parameters:
    ///   - negative: The embedding of the negative prompt [1, M, D].
    ///   - shards: The ranks that each keep a part of every block; nil for whole ones.
    init(
        _ model: TeacherModel,
        _ options: Options,
        negative: Tensor,
        on device: Device,
        sharedBy shards: ProcessGroup? = nil
    ) throws {
        (self.model, self.device, dtype) = (model, device, options.dtype)
        only = options.isParity ? model.publishedPart : nil
        guidance = options.guidance
        self.negative = negative
        var experts: [ModelFolder.Part: WanTransformer] = [:]
        for part in only.map({ [$0] }) ?? model.parts {
            let own = try model.weights(of: part)
            let source: any WeightSource =
                if let shards {
                    try ShardedLayers(of: own, shards, as: dtype, on: device)
                } else {
                    own
                }
            experts[part] = try model.folder.require(part)
                .network(source, dtype, device, late: shards != nil) {
                    weights throws(SwanError) in try WanTransformer(weights, model.config)
                }
        }
        self.experts = experts
    }

    /// The transformers in the order in which they run.
    var parts: [ModelFolder.Part] {
        ModelFolder.Part.allCases.filter { experts[$0] != nil }
    }

    /// The transformer for a timestep.
    func part(at timestep: Double) -> ModelFolder.Part { only ?? model.part(at: timestep) }

    /// Predicts the guided flow [B, Z, H, W] in float32, on the device of `latents`.
    ///
    /// - Parameters:
    ///   - latents: [B, Z, H, W].
    ///   - timesteps: One for each row, 0 ... 1000.
    ///   - text: Embeddings [B, L, D] with zeros after each prompt.
    ///   - wanted: The transformers to run; nil for those of the timesteps. Others see the first
    ///     row, and their results are dropped.
    func flow(
        _ latents: Tensor,
        _ timesteps: [Double],
        text: Tensor,
        running wanted: [ModelFolder.Part]? = nil
    ) throws -> Tensor {
        let chosen = timesteps.map(part(at:))
        var rows: [Tensor?] = timesteps.map { _ in nil }
        for part in wanted ?? parts.filter({ chosen.contains($0) }) {
            let own = chosen.indices.filter { chosen[$0] == part }
            let used = own.isEmpty ? [0] : own
            let index = try Tensor(used, [used.count])
            let found = try flow(
                of: part,
                latents.indexSelected(0, index.to(latents.device)),
                used.map { timesteps[$0] },
                text.indexSelected(0, index.to(text.device))
            ).to(latents.device)
            for (place, row) in own.enumerated() { rows[row] = try found.narrowed(0, place, 1) }
        }
        return try concatenated(rows.compactMap { $0 })
    }

    private func flow(
        of part: ModelFolder.Part,
        _ latents: Tensor,
        _ timesteps: [Double],
        _ text: Tensor
    ) throws -> Tensor {
        guard let network = experts[part] else {
            throw SwanError(.invalidModel, "\(model.folder.path) has no \(part.rawValue)")
        }
        let own = part == .lowNoiseTransformer ? model.guidance.low : model.guidance.high
        let scale = guidance ?? own
        let x = try latents.unsqueezed(2).to(device, dtype)  // [B, Z, 1, H, W]
        let t = try Tensor(timesteps.map(Float.init), [timesteps.count]).to(device)
        return try withoutGradients {
            guard scale != 1 else {
                let flow = try network(x, timesteps: t, text: network.text(text.to(device, dtype)))
                return try flow.squeezed(2).to(.float32)
            }
            let length = max(text.size(1), negative.size(1))
            let both = try concatenated([
                text.padded([0, 0, 0, length - text.size(1)]),
                negative.to(text.device, text.dtype)
                    .padded([0, 0, 0, length - negative.size(1)])
                    .expanded([text.size(0), length, text.size(2)]),
            ])
            let flows = try network(
                concatenated([x, x]),
                timesteps: concatenated([t, t]),
                text: network.text(both.to(device, dtype))
            ).squeezed(2).to(.float32).chunked(2, dim: 0)
            return try flows[1] + (flows[0] - flows[1]) * scale
        }
    }

    /// Makes the latents [B, Z, H, W] of pictures from noise.
    ///
    /// - Parameters:
    ///   - text: Embeddings [B, L, D] with zeros after each prompt.
    ///   - check: Called before each step; what it throws ends the work.
    func pictures(
        from noise: Tensor,
        text: Tensor,
        _ path: EulerPath,
        check: () throws -> Void
    ) throws -> Tensor {
        try path(from: noise) { x, level in
            try check()
            let timesteps = Array(repeating: 1_000 * level, count: noise.size(0))
            return try flow(x, timesteps, text: text)
        }
    }
}
