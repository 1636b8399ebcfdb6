import SwanDistributed
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// Flow matching for Wan's transformer on random data, with its text encoder.
struct FlowMethod: Method {
    static let role = "model"

    struct Batch: Sendable {
        let latents, noise, timesteps: Tensor
        /// Mask and image latents [B, 8, F, H, W], and image tokens; nil for text alone.
        let condition, image: Tensor?
        let prompts: [[Int32]]
    }

    var config: WanConfig
    var encoder: UMT5Config
    var options: OptimizerOptions
    var recomputing = false
    var precision = Precision.float32
    var sequence: SequenceParallel?

    var dividesTokens: Bool { sequence != nil }
    var sharesWeights: Bool { true }
    var roles: [Role] {
        [
            .trained(Self.role, by: options) { key, shape in
                shape.count == 2 && key.contains("blocks.")
            }
        ]
    }

    init(hasImages: Bool, microBatches: Int, muon: Bool = false) {
        config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (64, 96, 4, 2)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (24, 9)
        if hasImages { (config.inDim, config.imageDim) = (12, 20) }
        encoder = UMT5Config()
        (encoder.vocabulary, encoder.dim, encoder.headDim, encoder.ffnDim) = (50, 24, 8, 40)
        (encoder.heads, encoder.layers, encoder.buckets, encoder.maxDistance) = (3, 1, 8, 16)
        options = OptimizerOptions(
            learningRate: 1e-3,
            warmUpSteps: 2,
            decayFrom: 0.5,
            finalRate: 0.1,
            betas: [0.9, 0.99],
            muon: muon,
            weightDecay: 0.01,
            maximumGradientNorm: 0.2,
            averageDecay: 0.9,
            microBatches: microBatches
        )
    }

    func start() throws -> [String: [String: Tensor]] {
        let source = try MadeWeights.random(seed: 3)
        _ = try WanTransformer(Weights(source)["transformer"], config)
        _ = try UMT5Encoder(Weights(source)["text_encoder"], encoder)
        return [Self.role: source.tensors]
    }

    func updates(at step: Int) -> [Update<Batch>] { [Update(of: Self.role, by: loss)] }

    func batch(_ place: BatchPlace) throws -> Batch {
        let random = try Generator(seed: UInt64(place.number) + 100)
        let shape = [1, 4, 3, 6, 10]
        let hasImages = config.imageDim != nil
        let prompts = (0..<1).map { row in
            (0..<3 + place.number % 3).map { Int32(($0 * 7 + place.number + row) % 50) }
        }
        return Batch(
            latents: try .randn(shape, random),
            noise: try .randn(shape, random),
            timesteps: try Tensor.rand([1, 1], random) * 1_000,
            condition: hasImages ? try .randn([1, 8, 3, 6, 10], random) : nil,
            image: try config.imageDim.map { try .randn([1, 7, $0], random) },
            prompts: prompts
        )
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let weights = networks.weights(Self.role, precision)
        let late = weights.readsLayersLate
        let transformer = try WanTransformer(weights["transformer"], config)
        let encoder = try UMT5Encoder(weights["text_encoder"], encoder)
        try weights.finish()
        let share = try (batch.timesteps / 1_000).reshaped(1, 1, 1, 1, 1)
        var input = try batch.latents * (1 - share) + batch.noise * share
        // An earlier step leaves something for the next one.
        if let shift = carry["shift"] { input = try input + shift }
        carry["shift"] = try (batch.latents * 0.01).mean([2, 3, 4], keepDim: true)
        if let condition = batch.condition { input = try concatenated([input, condition], dim: 1) }
        let text = try transformer.text(
            encoder.encode(batch.prompts, recomputing: late),
            image: batch.image?.to(weights.dtype),
            recomputing: late
        )
        let flow = try flow(transformer, input.to(weights.dtype), batch.timesteps, text, late)
        let error = try (flow.to(.float32) - (batch.noise - batch.latents)).pow(2).mean()
        return Loss(total: error, parts: ["error": error])
    }

    private func flow(
        _ transformer: WanTransformer,
        _ input: Tensor,
        _ timesteps: Tensor,
        _ text: TextConditioning,
        _ late: Bool
    ) throws(SwanError) -> Tensor {
        guard let sequence else {
            return try transformer(
                input,
                timesteps: timesteps,
                text: text,
                recomputing: recomputing || late
            )
        }
        return try transformer(
            input,
            timesteps: timesteps,
            text: text,
            recomputing: recomputing || late,
            dividing: sequence
        )
    }
}
