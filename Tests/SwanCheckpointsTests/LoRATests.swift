import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN

@Suite struct LoRATests {
    private let generator: Generator
    private let golden: Golden
    private let base: [String: Tensor]
    private let config: WanConfig
    private let rank = 3

    init() throws {
        generator = try Generator(seed: 5)
        golden = try Golden("wan_t2v_a")
        base = try golden.weights
        config = try golden.config()
    }

    /// The matrices that the LoRAs in these tests change, with every kind of layer.
    private static let modules = [
        "blocks.0.self_attn.q", "blocks.1.self_attn.o", "blocks.0.cross_attn.k", "blocks.1.ffn.0",
        "blocks.1.ffn.2", "text_embedding.0", "time_embedding.2", "time_projection.1", "head.head",
    ]
    private static let diffusersModules = [
        "blocks.0.attn1.to_q", "blocks.1.attn1.to_out.0", "blocks.0.attn2.to_k",
        "blocks.1.ffn.net.0.proj", "blocks.1.ffn.net.2",
        "condition_embedder.text_embedder.linear_1", "condition_embedder.time_embedder.linear_2",
        "condition_embedder.time_proj", "proj_out",
    ]

    /// A convention for the keys of a LoRA.
    struct Naming: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let prefix: String
        let modules: [String]
        var down = ".lora_A.weight"
        var up = ".lora_B.weight"
        var isFlat = false
    }

    static let namings = [
        Naming(testDescription: "diffusers", prefix: "transformer.", modules: diffusersModules),
        Naming(testDescription: "Wan", prefix: "diffusion_model.", modules: modules),
        Naming(
            testDescription: "Wan, down and up",
            prefix: "diffusion_model.",
            modules: modules,
            down: ".lora_down.weight",
            up: ".lora_up.weight"
        ),
        Naming(testDescription: "bare", prefix: "", modules: modules),
        Naming(
            testDescription: "PEFT",
            prefix: "base_model.model.",
            modules: modules,
            down: ".lora_A.default.weight",
            up: ".lora_B.default.weight"
        ),
        Naming(
            testDescription: "PEFT in a wrapper",
            prefix: "base_model.model.model.",
            modules: modules,
            down: ".lora_A.default.weight",
            up: ".lora_B.default.weight"
        ),
        Naming(
            testDescription: "musubi-tuner",
            prefix: "lora_unet_",
            modules: modules,
            down: ".lora_down.weight",
            up: ".lora_up.weight",
            isFlat: true
        ),
        Naming(
            testDescription: "diffusers, flat",
            prefix: "lora_unet_",
            modules: diffusersModules,
            down: ".lora_down.weight",
            up: ".lora_up.weight",
            isFlat: true
        ),
    ]

    private func weight(_ module: String) throws -> Tensor {
        try #require(base[module + ".weight"])
    }

    /// Random products for all modules: the LoRA's keys, and the weights merged with `factor`.
    private func products(
        _ naming: Naming,
        alpha: Double?,
        factor: Double
    ) throws -> (keys: [String: Tensor], merged: [String: Tensor]) {
        var keys: [String: Tensor] = [:]
        var merged = base
        for (module, name) in zip(Self.modules, naming.modules) {
            let weight = try weight(module)
            let down = try Tensor.randn([rank, weight.size(1)], generator)
            let up = try Tensor.randn([weight.size(0), rank], generator)
            let key = naming.prefix + (naming.isFlat ? name.replacing(".", with: "_") : name)
            keys[key + naming.down] = down
            keys[key + naming.up] = up
            if let alpha { keys[key + ".alpha"] = try Tensor([Float(alpha)], []) }
            merged[module + ".weight"] = try weight + matmul(up, down) * factor
        }
        return (keys, merged)
    }

    /// diffusers writes PEFT's alpha to the metadata of the file.
    @Test func readsAlphaFromTheMetadata() throws {
        let folder = try TemporaryDirectory()
        let (keys, merged) = try products(Self.namings[0], alpha: nil, factor: 0.5 / Double(rank))
        let path = folder.path("lora.safetensors")
        try Safetensors.write(
            keys,
            metadata: ["lora_adapter_metadata": #"{"transformer.lora_alpha": 0.5}"#],
            to: path
        )
        let lora = try LoRA.open(path)
        try expectSame(LoRAWeights(DictionaryWeights(base), [lora]), merged)
    }

    private func expectSame(
        _ weights: some WeightSource,
        _ expected: [String: Tensor]
    ) throws {
        #expect(weights.keys.sorted() == expected.keys.sorted())
        for (key, tensor) in expected {
            try expectClose(weights.tensor(key, tensor.shape), tensor, absolute: 1e-5, key)
        }
    }

    @Test(arguments: namings) func mergesEveryNaming(_ naming: Naming) throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("lora.safetensors")
        for alpha in [nil, 1.5] {
            let scale = alpha.map { $0 / Double(rank) } ?? 1
            let (keys, merged) = try products(naming, alpha: alpha, factor: 0.8 * scale)
            try Safetensors.write(keys, to: path)
            let lora = try LoRA.open(path, strength: 0.8)
            try expectSame(LoRAWeights(DictionaryWeights(base), [lora]), merged)
        }
    }

    /// Keys as trainers write them, compared with diffusers' conversion.
    @Test(arguments: ["comfy", "musubi"]) func readsNamesLikeDiffusers(
        _ name: String
    ) throws {
        let lora = try Golden("lora_names")
        let theirs = try golden.weights(named: "weights_diffusers")
        let added = try lora.tensors(under: "output_\(name)")
        let names = try #require(CheckpointNames(theirs.keys))
        var expected: [String: Tensor] = [:]
        for (key, weight) in theirs {
            let module = "transformer." + key.replacing(/\.(weight|bias)$/, with: "")
            var sum = weight
            if key.hasSuffix(".bias"), let bias = added[module + ".lora_B.bias"] {
                sum = try weight + bias
            } else if key.hasSuffix(".weight"), let up = added[module + ".lora_B.weight"] {
                sum = try weight + matmul(up, #require(added[module + ".lora_A.weight"]))
            }
            expected[try #require(names.original(key))] = sum
        }
        let keys = try lora.tensors(under: "input_\(name)")
        let weights = try LoRAWeights(
            DictionaryWeights(theirs).inWanNames(),
            [LoRA(DictionaryWeights(keys), name: name)]
        )
        try expectSame(weights, expected)
        // The same LoRA in diffusers' names.
        let converted = try LoRAWeights(
            DictionaryWeights(theirs).inWanNames(),
            [LoRA(DictionaryWeights(added), name: name)]
        )
        try expectSame(converted, expected)
    }

    @Test func addsSeveralLoRAsWithTheirStrengths() throws {
        let (first, merged) = try products(Self.namings[0], alpha: nil, factor: 0.5)
        let (second, other) = try products(Self.namings[6], alpha: 6, factor: -2)
        let loras = [
            try LoRA(DictionaryWeights(first), name: "first", strength: 0.5),
            try LoRA(DictionaryWeights(second), name: "second", strength: -1),
        ]
        var expected = base
        for (key, tensor) in base {
            let (one, two) = (try #require(merged[key]), try #require(other[key]))
            expected[key] = try one + two - tensor
        }
        try expectSame(LoRAWeights(DictionaryWeights(base), loras), expected)
    }

    @Test func addsEveryKindOfDifference() throws {
        let targets = [
            "diffusion_model.blocks.0.self_attn.norm_q.diff": "blocks.0.self_attn.norm_q.weight",
            "diffusion_model.blocks.0.norm3.diff": "blocks.0.norm3.weight",
            "diffusion_model.blocks.0.norm3.diff_b": "blocks.0.norm3.bias",
            "diffusion_model.blocks.1.ffn.0.diff_b": "blocks.1.ffn.0.bias",
            "diffusion_model.blocks.1.diff_m": "blocks.1.modulation",
            "diffusion_model.head.diff_m": "head.modulation",
            "diffusion_model.patch_embedding.diff": "patch_embedding.weight",
            "diffusion_model.patch_embedding.diff_b": "patch_embedding.bias",
        ]
        var keys: [String: Tensor] = [:]
        var expected = base
        for (key, target) in targets {
            let weight = try #require(base[target], "\(target)")
            let difference = try Tensor.randn(weight.shape, generator)
            keys[key] = try difference.to(.float16)
            expected[target] = try weight + difference.to(.float16).to(.float32) * 0.25
        }
        for live in [false, true] {
            let lora = try LoRA(DictionaryWeights(keys), name: "diff", strength: 0.25)
            try expectSame(LoRAWeights(DictionaryWeights(base), [lora], live: live), expected)
        }
    }

    /// A low-rank product for a convolution kernel, and the bias that PEFT stores in `lora_B`.
    @Test func mergesConvolutionsAndBiases() throws {
        let weight = try weight("patch_embedding")
        let down = try Tensor.randn([rank] + weight.shape.dropFirst(), generator)
        let up = try Tensor.randn([weight.size(0), rank, 1, 1, 1], generator)
        let bias = try Tensor.randn([weight.size(0)], generator)
        let lora = try LoRA(
            DictionaryWeights([
                "patch_embedding.lora_A.weight": down, "patch_embedding.lora_B.weight": up,
                "patch_embedding.lora_B.bias": bias, "patch_embedding.alpha": Tensor([6.0], [1]),
            ]),
            name: "patch"
        )
        var expected = base
        let product = try matmul(up.reshaped(weight.size(0), rank), down.flattened(from: 1))
        expected["patch_embedding.weight"] = try weight + product.reshaped(weight.shape) * 2
        expected["patch_embedding.bias"] = try #require(base["patch_embedding.bias"]) + bias * 2
        try expectSame(LoRAWeights(DictionaryWeights(base), [lora]), expected)
    }

    /// Merged and live LoRAs give the same network, also with kept storage. A later change of the
    /// strength affects only live LoRAs.
    @Test func liveEqualsMerged() throws {
        let (keys, merged) = try products(Self.namings[1], alpha: 2, factor: 2 / 3 * 0.7)
        let text = try golden.input("context")
        let latents = try golden.input("video")
        let timesteps = try golden.input("timestep")
        func flow(_ source: any WeightSource, keeps: Bool = false) throws -> Tensor {
            try flow(WanTransformer(Weights(source, keepsStorage: keeps), config))
        }
        func flow(_ network: WanTransformer) throws -> Tensor {
            try network(latents, timesteps: timesteps, text: network.text(text))
        }
        let expected = try flow(DictionaryWeights(merged))
        let plain = try flow(DictionaryWeights(base))
        #expect(try (expected - plain).abs().max().item() > 0.1)
        for (live, keeps) in [(false, false), (false, true), (true, false), (true, true)] {
            let lora = try LoRA(DictionaryWeights(keys), name: "live", strength: 0.7)
            let source = try LoRAWeights(DictionaryWeights(base), [lora], live: live)
            let network = try WanTransformer(Weights(source, keepsStorage: keeps), config)
            try expectClose(flow(network), expected, relative: 1e-3, absolute: 1e-4)
            lora.strength.value = 0
            let off = live ? plain : expected
            try expectClose(flow(network), off, relative: 1e-3, absolute: 1e-4)
        }
    }

    @Test func storageKeepsItsDType() throws {
        let (keys, merged) = try products(Self.namings[1], alpha: nil, factor: 1)
        let key = "blocks.0.self_attn.q.weight"
        for (dtype, expected) in [(DType.bfloat16, DType.bfloat16), (.float8e4m3, .bfloat16)] {
            let source = DictionaryWeights(try base.mapValues { try $0.to(dtype) })
            let lora = try LoRA(DictionaryWeights(keys), name: "a")
            let shape = try weight("blocks.0.self_attn.q").shape
            let stored = try LoRAWeights(source, [lora]).stored(key, shape)
            #expect(stored.values.dtype == expected)
            try expectClose(stored.values, try #require(merged[key]), relative: 0.2, absolute: 0.2)
            let live = try LoRAWeights(source, [lora], live: true).stored(key, shape)
            #expect(live.values.dtype == dtype)
        }
    }

    // MARK: - Refusals

    private func refusal(_ keys: [String: Tensor]) -> String {
        let error = failure {
            let lora = try LoRA(DictionaryWeights(keys), name: "x.safetensors")
            _ = try LoRAWeights(DictionaryWeights(base), [lora])
        }
        return error.map { "\($0)" } ?? "no error"
    }

    @Test func listsKeysThatDoNotFit() throws {
        var (keys, _) = try products(Self.namings[1], alpha: nil, factor: 1)
        keys["diffusion_model.blocks.99.self_attn.q.lora_A.weight"] = try .zeros([2, 8])
        keys["diffusion_model.blocks.99.self_attn.q.lora_B.weight"] = try .zeros([8, 2])
        keys["diffusion_model.blocks.0.self_attn.nothing.diff"] = try .zeros([8])
        keys["diffusion_model.blocks.0.cross_attn.v.lora_A.weight"] = try .zeros([2, 7])
        keys["diffusion_model.blocks.0.cross_attn.v.lora_B.weight"] = try .zeros([48, 2])
        keys["diffusion_model.blocks.0.cross_attn.o.lora_B.weight"] = try .zeros([8, 2])
        let text = refusal(keys)
        #expect(text.contains("x.safetensors: 6 of its 24 keys do not fit the model"))
        for key in [
            "blocks.99.self_attn.q.lora_A.weight [2, 8]: no such layer",
            "blocks.99.self_attn.q.lora_B.weight [8, 2]: no such layer",
            "blocks.0.self_attn.nothing.diff [8]: no such weight",
            "blocks.0.cross_attn.v.lora_A.weight [2, 7]: the weight is [48, 48]",
            "blocks.0.cross_attn.o.lora_B.weight [8, 2]: its lora_A (lora_down) is missing",
        ] {
            #expect(text.contains(key), "\(key) in \(text)")
        }
    }

    @Test func explainsALoRAForAnotherModel() throws {
        let keys = [
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight": try Tensor.zeros([4, 5_120]),
            "diffusion_model.blocks.0.self_attn.q.lora_B.weight": try Tensor.zeros([5_120, 4]),
        ]
        let text = refusal(keys)
        #expect(text.contains("it was trained for Wan 14B (width 5120), but this model is width"))
        let image = [
            "blocks.0.cross_attn.k_img.lora_A.weight": try Tensor.zeros([4, 8]),
            "blocks.0.cross_attn.k_img.lora_B.weight": try Tensor.zeros([8, 4]),
        ]
        #expect(refusal(image).contains("it was trained for an image-to-video model"))
        let other = [
            "double_blocks.0.img_mlp.0.lora_A.weight": try Tensor.zeros([4, 8]),
            "double_blocks.0.img_mlp.0.lora_B.weight": try Tensor.zeros([8, 4]),
        ]
        #expect(refusal(other).contains("it was not trained for a Wan model"))
    }

    @Test func refusesOtherKindsOfAdapter() throws {
        let other = ["blocks.0.self_attn.q.lora_C.weight": try Tensor.zeros([8, 2])]
        #expect(refusal(other).contains("1 keys are not LoRA keys"))
        #expect(refusal(other).contains("lora_C"))
        #expect(refusal([:]).contains("the LoRA is empty"))
    }

    @Test func refusesAModuleThatIsChangedTwice() throws {
        let keys = [
            "transformer.blocks.0.ffn.0.lora_A.weight": try Tensor.zeros([2, 8]),
            "blocks.0.ffn.0.lora_A.weight": try Tensor.zeros([2, 8]),
        ]
        #expect(refusal(keys).contains("is changed twice"))
    }

    /// One layer under two names: half of the file would be ignored.
    @Test func refusesALayerWithTwoNames() throws {
        var (keys, _) = try products(Self.namings[1], alpha: nil, factor: 1)
        #expect(refusal(keys) == "no error")
        for (suffix, shape) in [("lora_down", [2, 48]), ("lora_up", [48, 2])] {
            keys["lora_unet_blocks_0_self_attn_q.\(suffix).weight"] = try .zeros(shape)
        }
        #expect(refusal(keys).contains("is changed twice"), "\(refusal(keys))")
    }
}
