package import SwanModels
package import SwanSchedulers
package import SwanSystem
package import Torch
package import TorchNN

/// A transformer's configuration, and how it sees a video in training.
package struct NetworkForm: Sendable {
    package let config: WanConfig
    /// What a causal network sees; nil for a bidirectional one.
    package let causal: CausalView?
    /// Whether blocks are recomputed in the backward pass.
    package var isRecomputed = false

    /// The blocks of a causal network.
    package struct CausalView: Sendable, Equatable {
        package let framesPerBlock: Int
        /// The frames that a block sees, `sinks` included; nil for the whole past.
        package var window: Int?
        package var sinks = 0

        /// Creates the view of blocks.
        package init(framesPerBlock: Int, window: Int? = nil, sinks: Int = 0) {
            self.framesPerBlock = framesPerBlock
            self.window = window
            self.sinks = sinks
        }
    }

    /// Creates the form of a network.
    package init(_ config: WanConfig, causal: CausalView? = nil, isRecomputed: Bool = false) {
        self.config = config
        self.causal = causal
        self.isRecomputed = isRecomputed
    }
}

/// A transformer as a predictor of clean latents, x0 = x_t - sigma v.
package struct CleanPredictor: Sendable {
    enum Network: Sendable {
        case bidirectional(WanTransformer)
        case causal(CausalWanTransformer, NetworkForm.CausalView)
    }

    let network: Network
    let flow: FlowMatch
    let device: Device
    let dtype: DType
    let isRecomputed: Bool

    /// A prediction: both in float32, [B, C, F, H, W].
    package struct Prediction {
        package let clean, flow: Tensor
    }

    /// Builds the network of a form from its weights; every key must match.
    package init(_ weights: Weights, _ form: NetworkForm, _ flow: FlowMatch) throws(SwanError) {
        if let view = form.causal {
            network = .causal(try CausalWanTransformer(weights, form.config), view)
        } else {
            network = .bidirectional(try WanTransformer(weights, form.config))
        }
        try weights.finish()
        self.flow = flow
        (device, dtype) = (weights.device, weights.dtype)
        isRecomputed = form.isRecomputed || weights.readsLayersLate
    }

    /// Conditions the network on text embeddings [B or 1, T, textDim].
    package func text(_ embeddings: Tensor) throws(SwanError) -> TextConditioning {
        let embeddings = try embeddings.to(device, dtype)
        return switch network {
        case .bidirectional(let network):
            try network.text(embeddings, recomputing: isRecomputed)
        case .causal(let network, _):
            try network.text(embeddings, recomputing: isRecomputed)
        }
    }

    /// Predicts the clean latents of noisy ones [B, C, F, H, W], with a timestep for each row and
    /// frame. A bidirectional network gets that of the first frame.
    package func callAsFunction(
        _ noisy: Tensor,
        timesteps: [[Double]],
        text: TextConditioning
    ) throws(SwanError) -> Prediction {
        let x = try noisy.to(device, dtype)
        let velocity: Tensor
        switch network {
        case .bidirectional(let network):
            velocity = try network(
                x,
                timesteps: tensor(timesteps.map { [$0[0]] }).flattened(),
                text: text,
                recomputing: isRecomputed
            )
        case .causal(let network, let view):
            velocity = try network(
                x,
                timesteps: tensor(timesteps),
                text: text,
                framesPerBlock: view.framesPerBlock,
                window: view.window,
                sinks: view.sinks,
                recomputing: isRecomputed
            )
        }
        let exact = try velocity.to(.float32)
        let clean = try flow.clean(fromFlow: exact, noisy.to(device), at: .frames(timesteps))
        return Prediction(clean: clean, flow: exact)
    }

    private func tensor(_ timesteps: [[Double]]) throws(SwanError) -> Tensor {
        let list = timesteps.flatMap { $0 }.map(Float.init)
        return try Tensor(list, [timesteps.count, list.count / timesteps.count]).to(device)
    }
}
