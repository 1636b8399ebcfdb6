import GoldenSupport
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Models that recompute their layers for gradients: same results, without stored activations.
struct RecomputationTests {
    /// Weights as leaves, their loss and its gradients.
    private struct Run {
        let loss: Double
        let gradients: [String: [Float]]

        /// - Parameter changed: A weight that is halved between computing the loss and its gradients.
        init(
            _ made: [String: Tensor],
            changed: String? = nil,
            _ loss: (Weights) throws -> Tensor
        ) throws {
            var leaves: [String: Tensor] = [:]
            for (key, tensor) in made {
                leaves[key] = try tensor.cloned()
                try leaves[key]?.setRequiresGrad()
            }
            let device = leaves.values.first?.device ?? .cpu
            let total = try loss(Weights(DictionaryWeights(leaves), device: device))
            self.loss = try total.item()
            if let changed {
                var weight = try #require(leaves[changed])
                try withoutGradients { () throws(SwanError) in try weight.multiply(by: 0.5) }
            }
            let keys = leaves.keys.sorted()
            let found = try Torch.gradients(of: total, for: keys.compactMap { leaves[$0] })
            var gradients: [String: [Float]] = [:]
            for (key, gradient) in zip(keys, found) {
                gradients[key] = try gradient?.array(of: Float.self)
            }
            self.gradients = gradients
        }
    }

    /// Compares a loss and its gradients with and without recomputation.
    private func expectTheSame(
        _ made: [String: Tensor],
        changing key: String,
        _ loss: (Weights, _ recomputing: Bool) throws -> Tensor
    ) throws {
        let kept = try Run(made) { try loss($0, false) }
        let again = try Run(made) { try loss($0, true) }
        #expect(kept.loss == again.loss && kept.loss.isFinite)
        #expect(kept.gradients == again.gradients)
        #expect(kept.gradients[key]?.contains { $0 != 0 } == true)
        // Autograd detects that a saved tensor was modified. With recomputation nothing is saved, and
        // the current values are used.
        let error = #expect(throws: SwanError.self) {
            try Run(made, changed: key) { try loss($0, false) }
        }
        #expect(error?.message.contains("inplace") == true)
        let changed = try Run(made, changed: key) { try loss($0, true) }
        #expect(changed.loss == kept.loss && changed.gradients != kept.gradients)
    }

    private static var transformer: WanConfig {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (48, 96, 3, 2)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (20, 12)
        return config
    }

    @Test(arguments: Device.tested) func causalTransformer(device: Device) throws {
        let config = Self.transformer
        let made = try MadeWeights.random(seed: 3)
        _ = try CausalWanTransformer(Weights(made), config)
        let generator = try Generator(seed: 1)
        let latents = try Tensor.randn([2, 4, 3, 6, 10], generator).to(device)
        let words = try Tensor.randn([2, 5, 20], generator).to(device)
        let steps = try Tensor.full([2, 3], 400, .float32, device)
        let leaves = try made.tensors.mapValues { try $0.to(device) }
        try expectTheSame(leaves, changing: "blocks.0.ffn.0.weight") { weights, recomputing in
            let model = try CausalWanTransformer(weights, config)
            return try model(
                latents,
                timesteps: steps,
                text: model.text(words),
                window: 2,
                recomputing: recomputing
            ).pow(2).mean()
        }
    }

    @Test func bidirectionalTransformer() throws {
        let config = Self.transformer
        let made = try MadeWeights.random(seed: 4)
        _ = try WanTransformer(Weights(made), config)
        let generator = try Generator(seed: 2)
        let latents = try Tensor.randn([1, 4, 2, 6, 10], generator)
        let words = try Tensor.randn([1, 5, 20], generator)
        try expectTheSame(made.tensors, changing: "blocks.1.ffn.2.weight") { weights, recomputing in
            let model = try WanTransformer(weights, config)
            return try model(
                latents,
                timesteps: Tensor.full([1], 400),
                text: model.text(words),
                recomputing: recomputing
            ).pow(2).mean()
        }
    }

    @Test func autoencoder() throws {
        var config = WanVAEConfig()
        (config.baseDim, config.decoderBaseDim, config.zDim) = (4, 4, 2)
        (config.latentsMean, config.latentsStd) = ([0, 0], [1, 1])
        (config.dimMult, config.temporalDownsample) = ([1, 2, 2], [true, true])
        (config.numResBlocks, config.attnScales) = (1, [1])
        let made = try MadeWeights.random(seed: 5)
        _ = try WanVAE(Weights(made), config)
        let video = try Tensor.randn([1, 3, 5, 16, 16], Generator(seed: 3))
        let key = try #require(
            made.tensors.keys.sorted().last {
                $0.hasPrefix("decoder.up") && $0.contains("to_qkv.w")
            }
        )
        try expectTheSame(made.tensors, changing: key) { weights, recomputing in
            let vae = try WanVAE(weights, config, recomputing: recomputing)
            return try vae.decode(vae.encode(video), clamped: false).pow(2).mean()
        }
    }
}
