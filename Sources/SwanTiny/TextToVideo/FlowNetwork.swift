import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// A transformer in training that predicts the flow from clean latents to noise.
///
/// Inputs may be on the CPU; results are on the device of the weights, in float32 whatever the
/// network computes in.
struct FlowNetwork {
    private let transformer: WanTransformer
    private let device: Device
    private let dtype: DType

    /// Creates the network of a role's weights.
    init(_ weights: Weights, _ config: WanConfig) throws(SwanError) {
        transformer = try WanTransformer(weights, config)
        try weights.finish()
        (device, dtype) = (weights.device, weights.dtype)
    }

    /// Predicts the flow [B, C, F, H, W].
    ///
    /// - Parameters:
    ///   - latents: [B, C, F, H, W].
    ///   - timesteps: [B], 0 ... 1000.
    ///   - text: Embeddings [B, L, D] with zeros after the end of each prompt.
    func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: Tensor
    ) throws(SwanError) -> Tensor {
        let conditioning = try transformer.text(text.to(device, dtype))
        return try transformer(
            latents.to(device, dtype),
            timesteps: timesteps.to(device),
            text: conditioning
        ).to(.float32)
    }
}

/// Videos from noise by Euler's method along the guided flow
/// (https://arxiv.org/abs/2207.12598; rectified flow, https://arxiv.org/abs/2209.03003).
struct GuidedSampler {
    let network: FlowNetwork
    let steps: Int
    let shift: Double
    let guidance: Double

    /// Returns latents of the shape of `noise` [B, C, F, H, W].
    ///
    /// - Parameters:
    ///   - text: Embeddings of the prompts [B, L, D].
    ///   - nothing: The embedding of the empty prompt [1, M, D].
    func callAsFunction(
        from noise: Tensor,
        text: Tensor,
        nothing: Tensor
    ) throws(SwanError) -> Tensor {
        let count = noise.size(0)
        let length = max(text.size(1), nothing.size(1))
        let both = try concatenated([
            text.padded([0, 0, 0, length - text.size(1)]),
            nothing.padded([0, 0, 0, length - nothing.size(1)])
                .expanded([count, length, text.size(2)]),
        ])
        return try Self.path(from: noise, steps: steps, shift: shift) {
            x,
            level throws(SwanError) in
            let flows = try network(
                concatenated([x, x]),
                timesteps: .full([2 * count], 1_000 * level),
                text: both
            ).to(.cpu).chunked(2, dim: 0)
            return try flows[1] + (flows[0] - flows[1]) * guidance
        }
    }

    /// Follows a flow from noise, with noise levels s u / (1 + (s - 1) u) for a shift s.
    ///
    /// - Parameter flow: The flow at x and a noise level.
    static func path(
        from noise: Tensor,
        steps: Int,
        shift: Double,
        flow: (_ x: Tensor, _ level: Double) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        func level(_ step: Int) -> Double {
            let u = 1 - Double(step) / Double(steps)
            return shift * u / (1 + (shift - 1) * u)
        }
        var x = noise
        for step in 0..<steps {
            x = try x + flow(x, level(step)) * (level(step + 1) - level(step))
        }
        return x
    }
}
