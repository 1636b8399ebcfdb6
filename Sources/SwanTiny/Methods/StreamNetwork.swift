import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// The text encoder and transformer as a stream uses them: predicts clean latents from noisy ones
/// and prompts.
///
/// The noisy input is x = s N + (1 - s) S; the transformer's flow v gives the clean
/// x0 = x - t/1000 v (rectified flow, https://arxiv.org/abs/2209.03003). Inputs may be on the CPU;
/// results are on the device of the weights, in float32 regardless of the networks' precision.
struct StreamNetwork {
    private let transformer: CausalWanTransformer
    private let encoder: UMT5Encoder
    private let options: StreamTrainingOptions
    private let device: Device
    private let dtype: DType
    private let sequence: SequenceParallel?
    /// Whether weights are read when they are used, and dropped until they are used again.
    private let readsLate: Bool

    /// Creates the networks of a method with these weights.
    init(_ networks: Networks, _ method: StreamMethod) throws(SwanError) {
        let weights: Weights
        if let lora = method.lora {
            let leaves = networks[StreamMethod.trainedRole]
            let dtype = (method.options.precision ?? .float32).dtype
            weights = Weights(
                try lora.layers.applied(leaves, to: DictionaryWeights(lora.transformer)),
                dtype: dtype,
                device: leaves.values.first?.device ?? .cpu
            )
            transformer = try CausalWanTransformer(weights, method.transformer)
            let text = Weights(leaves: lora.textEncoder, method.options.precision)
            encoder = try UMT5Encoder(text, method.textEncoder)
            try text.finish()
        } else {
            weights = networks.weights(StreamMethod.trainedRole, method.options.precision)
            transformer = try CausalWanTransformer(weights["transformer"], method.transformer)
            encoder = try UMT5Encoder(weights["text_encoder"], method.textEncoder)
        }
        try weights.finish()
        options = method.options
        (device, dtype) = (weights.device, weights.dtype)
        sequence = method.sequence
        readsLate = weights.readsLayersLate
    }

    /// Predicts clean latents from `input` [B, C, F, H, W] with a timestep for each frame [B, F].
    func callAsFunction(
        _ input: Tensor,
        timesteps: Tensor,
        prompts: [[Int32]]
    ) throws -> Tensor {
        let input = try input.to(device)
        let timesteps = try timesteps.to(device)
        let text = try transformer.text(
            encoder.encode(prompts, recomputing: readsLate),
            recomputing: readsLate
        )
        let flow = try flow(of: input.to(dtype), timesteps, text)
        return try input - Self.perFrame(timesteps / 1_000) * flow.to(.float32)
    }

    private func flow(
        of input: Tensor,
        _ timesteps: Tensor,
        _ text: TextConditioning
    ) throws(SwanError) -> Tensor {
        let recomputing = options.gradientCheckpointing ?? false || readsLate
        guard let sequence else {
            return try transformer(
                input,
                timesteps: timesteps,
                text: text,
                window: options.window,
                recomputing: recomputing
            )
        }
        return try transformer(
            input,
            timesteps: timesteps,
            text: text,
            window: options.window,
            recomputing: recomputing,
            dividing: sequence
        )
    }

    // MARK: - Inputs

    /// Returns the input of a first step: the source mixed with noise by `scale` [B, F], and
    /// timesteps.
    ///
    /// A stream uses int(1000 s) + `timestepOffset`, see `NoiseController`.
    static func first(
        _ source: Tensor,
        noise scale: Tensor,
        timestepOffset: Int,
        _ generator: Generator
    ) throws(SwanError) -> (Tensor, Tensor) {
        // The small offset is needed because 0.3 in float32 is less than 0.3.
        let timesteps = try (scale * 1_000 + 0.01).floor() + Double(timestepOffset)
        return (try noised(source, scale, generator), timesteps)
    }

    /// Returns the input of a later step: an earlier result with the noise of its timesteps [B, F].
    static func later(
        _ result: Tensor,
        _ timesteps: Tensor,
        _ generator: Generator
    ) throws(SwanError) -> Tensor {
        try noised(result, timesteps / 1_000, generator)
    }

    private static func noised(
        _ latents: Tensor,
        _ scale: Tensor,
        _ generator: Generator
    ) throws(SwanError) -> Tensor {
        let s = try perFrame(scale.to(latents.device))
        let noise = try Tensor.randn(latents.shape, generator).to(latents.device)
        return try s * noise + (1 - s) * latents
    }

    /// Reshapes [B, F] to broadcast over latents [B, C, F, H, W].
    private static func perFrame(_ values: Tensor) throws(SwanError) -> Tensor {
        try values.reshaped(values.size(0), 1, values.size(1), 1, 1)
    }
}
