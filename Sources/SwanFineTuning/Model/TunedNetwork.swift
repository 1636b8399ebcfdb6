package import SwanModels
package import SwanSystem
package import Torch
package import TorchNN

/// A transformer that is fine-tuned, as it runs in training.
package struct TunedNetwork: Sendable {
    /// What a network is conditioned on.
    package struct Condition: Sendable {
        /// The embeddings of prompts [B, T, textDim]; rows of zeros are padding.
        package let text: Tensor
        /// A mask and the latents of pictures [B, s + z, F, H, W].
        package var pictures: Tensor?
        /// The features of pictures [B, P, imageDim].
        package var features: Tensor?

        /// Creates a condition of text.
        package init(text: Tensor) { self.text = text }
    }

    private enum Network: Sendable {
        case bidirectional(WanTransformer)
        case causal(CausalWanTransformer, framesPerBlock: Int, window: Int?, sinks: Int)
    }

    private let network: Network
    private let device: Device
    private let dtype: DType
    private let isRecomputed: Bool

    /// Builds the network; every key must match.
    package init(
        _ weights: Weights,
        _ config: WanConfig,
        _ task: TuningTask,
        isRecomputed: Bool = false
    ) throws(SwanError) {
        if case .causal(let frames, let window, let sinks) = task {
            network = .causal(
                try CausalWanTransformer(weights, config),
                framesPerBlock: frames,
                window: window,
                sinks: sinks
            )
        } else {
            network = .bidirectional(try WanTransformer(weights, config))
        }
        try weights.finish()
        (device, dtype) = (weights.device, weights.dtype)
        self.isRecomputed = isRecomputed || weights.readsLayersLate
    }

    /// Predicts the flow of noisy latents [B, z, F, H, W] in float32.
    ///
    /// - Parameter timesteps: [B, F], 0 ... 1000; the frames of a row may differ if the model is
    ///   causal or keeps first frames clean.
    package func callAsFunction(
        _ noisy: Tensor,
        timesteps: Tensor,
        _ condition: Condition
    ) throws(SwanError) -> Tensor {
        var x = try noisy.to(device, dtype)
        if let pictures = condition.pictures {
            x = try concatenated([x, pictures.to(device, dtype)], dim: 1)
        }
        let text = try condition.text.to(device, dtype)
        let features = try condition.features?.to(device, dtype)
        let steps = try timesteps.to(device)
        let flow: Tensor
        switch network {
        case .bidirectional(let network):
            flow = try network(
                x,
                timesteps: steps,
                text: network.text(text, image: features, recomputing: isRecomputed),
                recomputing: isRecomputed
            )
        case .causal(let network, let frames, let window, let sinks):
            flow = try network(
                x,
                timesteps: steps,
                text: network.text(text, recomputing: isRecomputed),
                framesPerBlock: frames,
                window: window,
                sinks: sinks,
                recomputing: isRecomputed
            )
        }
        return try flow.to(.float32)
    }
}
