import GoldenSupport
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanFineTuning

/// The gradients of a LoRA are those of the whole matrices, projected.
@Suite struct LowRankGradientTests {
    /// A kind of model.
    struct Family: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let task: TuningTask
        var inDim = 6
        var imageDim: Int?

        static let all = [
            Family(testDescription: "text", task: .textToVideo),
            Family(
                testDescription: "image, CLIP",
                task: .imageToVideo(hasLast: false),
                inDim: 16,
                imageDim: 10
            ),
            Family(
                testDescription: "image",
                task: .imageToVideo(hasLast: false),
                inDim: 16
            ),
            Family(testDescription: "clean first frame", task: .textOrImageToVideo),
            Family(
                testDescription: "causal",
                task: .causal(framesPerBlock: 2, window: 4, sinks: 2)
            ),
        ]

        var config: WanConfig {
            var config = WanConfig()
            (config.dim, config.ffnDim, config.heads, config.layers) = (36, 52, 3, 2)
            (config.inDim, config.outDim, config.freqDim) = (inDim, 6, 16)
            (config.textDim, config.textLen, config.imageDim) = (14, 9, imageDim)
            return config
        }

        func batch(_ generator: Generator) throws -> FlowTuning.Batch {
            var condition = TunedNetwork.Condition(text: try .randn([2, 7, 14], generator))
            if inDim > 6 { condition.pictures = try .randn([2, inDim - 6, 5, 6, 10], generator) }
            if let imageDim { condition.features = try .randn([2, 4, imageDim], generator) }
            return FlowTuning.Batch(latents: try .randn([2, 6, 5, 6, 10], generator), condition)
        }

        func weights() throws -> [String: Tensor] {
            let made = try MadeWeights.random(seed: 3)
            if case .causal = task {
                _ = try CausalWanTransformer(Weights(made), config)
            } else {
                _ = try WanTransformer(Weights(made), config)
            }
            return made.tensors
        }
    }

    private func method(
        _ family: Family,
        _ lora: (layers: LoRALayers, base: any WeightSource)?,
        recomputed: Bool = false,
        precision: Precision = .float32
    ) throws -> FlowTuning {
        var options = FlowTuning.Options()
        options.cleanFirstFrame = 0.5
        options.weighting = .bell
        options.isRecomputed = recomputed
        options.precision = precision
        options.seed = 5
        return try FlowTuning(
            [FlowTuning.Expert(role: "transformer", lora: lora)],
            family.config,
            family.task,
            options,
            optimizer: FineTuningSettings().optimizer(ranks: 1)
        ) { _ in try family.batch(Generator(seed: 9)) }
    }

    /// The loss and its gradients.
    private func gradients(
        _ method: FlowTuning,
        _ weights: [String: Tensor]
    ) throws -> (loss: Double, gradients: [String: Tensor]) {
        let keys = weights.keys.sorted()
        let leaves = try keys.map { key in
            let leaf = try #require(weights[key]).detached().cloned()
            try leaf.setRequiresGrad()
            return leaf
        }
        let place = BatchPlace(step: 1)
        let networks = Networks([
            "transformer": Dictionary(uniqueKeysWithValues: zip(keys, leaves))
        ])
        let loss = try method.loss(
            method.batch(place),
            place,
            networks,
            method.expert(at: 1)
        )
        let found = try Torch.gradients(of: loss.total, for: leaves)
        var named: [String: Tensor] = [:]
        for (key, gradient) in zip(keys, found) { named[key] = gradient }
        return (try loss.total.item(), named)
    }

    /// dL/dA = (alpha / rank) Bᵀ dL/dW and dL/dB = (alpha / rank) dL/dW Aᵀ, where W is the whole
    /// matrix with the product in it.
    @Test(arguments: Family.all) func areProjected(_ family: Family) throws {
        let base = try family.weights()
        let source = DictionaryWeights(base)
        let layers = try LoRALayers(
            of: source,
            targets: [LoRALayers.allLinear],
            rank: 3,
            alpha: 2
        )
        let factor = 2.0 / 3
        let generator = try Generator(seed: 21)
        var leaves: [String: Tensor] = [:]
        for (key, leaf) in try layers.start(seed: 1) {
            leaves[key] = leaf
        }
        for key in leaves.keys.sorted() where key.contains("lora_B") {
            let leaf = try #require(leaves[key])
            leaves[key] = try Tensor.randn(leaf.shape, generator) * 0.2
        }
        var merged = base
        for layer in layers.layers {
            let key = layer.module + ".weight"
            let product = try matmul(
                #require(leaves[layer.module + ".lora_B.weight"]),
                #require(leaves[layer.module + ".lora_A.weight"])
            )
            merged[key] = try #require(base[key]) + product * factor
        }
        let whole = try gradients(method(family, nil), merged)
        let low = try gradients(method(family, (layers, source)), leaves)
        let again = try gradients(method(family, (layers, source), recomputed: true), leaves)
        let lossError: Double = abs(low.loss - whole.loss) / whole.loss
        #expect(lossError < 1e-5)
        for layer in layers.layers {
            let full = try #require(whole.gradients[layer.module + ".weight"])
            let (a, b) = (layer.module + ".lora_A.weight", layer.module + ".lora_B.weight")
            let ofA = try matmul(#require(leaves[b]).transposed(0, 1), full) * factor
            let ofB = try matmul(full, #require(leaves[a]).transposed(0, 1)) * factor
            for (key, expected) in [(a, ofA), (b, ofB)] {
                let found = try #require(low.gradients[key])
                let scale = try expected.abs().max().item()
                try expectClose(found, expected, relative: 1e-4, absolute: 1e-5 * scale, key)
                // Recomputing changes nothing.
                let recomputed = try #require(again.gradients[key])
                #expect(try recomputed.array(of: Float.self) == found.array(of: Float.self))
            }
        }
    }

    /// With weights and computation in bfloat16, float32 leaves get float32 gradients near the
    /// exact ones.
    @Test func areNearInBFloat16() throws {
        let family = Family.all[0]
        let base = try family.weights()
        let half = try base.mapValues { try $0.to(.bfloat16) }
        let exact = DictionaryWeights(try half.mapValues { try $0.to(.float32) })
        let layers = try LoRALayers(of: exact, rank: 3, alpha: 3)
        let leaves = try layers.start(seed: 1)
        let one = try gradients(method(family, (layers, exact)), leaves)
        let two = try gradients(
            method(family, (layers, DictionaryWeights(half)), precision: .bfloat16),
            leaves
        )
        let lossError: Double = abs(one.loss - two.loss) / one.loss
        #expect(lossError < 0.02)
        for (key, gradient) in two.gradients where key.contains("lora_B") {
            #expect(gradient.dtype == .float32)
            let expected = try #require(one.gradients[key])
            let difference = try (gradient - expected).pow(2).sum().item()
            let size = try expected.pow(2).sum().item()
            #expect(difference < 0.01 * size, "\(key): \(difference) of \(size)")
        }
    }
}
