import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Compares the image encoder with transformers and the original implementation.
@Suite struct CLIPVisionTests {
    private static let names = ["clip_vision_a", "clip_vision_b"]

    private func model(_ golden: Golden, _ source: any WeightSource) throws -> CLIPVision {
        let config: CLIPVisionConfig = try golden.config()
        let weights = Weights(try source.inWanNames(), device: golden.device)
        let model = try CLIPVision(weights, config)
        try weights.finish(ignoring: config.isUnused)
        return model
    }

    private func images(_ golden: Golden) throws -> [Tensor] {
        let count = golden.keys.filter { $0.hasPrefix("input/image_") }.count
        return try (0..<count).map { try golden.input("image_\($0)").unsqueezed(0) }
    }

    @Test(arguments: names)
    func pixels(_ name: String) throws {
        let golden = try Golden(name)
        let size = try golden.config(CLIPVisionConfig.self).imageSize
        let pixels = try concatenated(
            images(golden).map { try CLIPVision.pixels($0, size: size) }
        )
        try expectClose(pixels, golden.output("pixels"), within: golden.tolerance)
    }

    @Test(arguments: names, Device.tested)
    func tokens(_ name: String, device: Device) throws {
        for naming in ["weights", "weights_hf"] {
            try expectTokens(Golden(name, on: device), naming)
        }
    }

    private func expectTokens(_ golden: Golden, _ naming: String) throws {
        let model = try model(golden, DictionaryWeights(golden.weights(named: naming)))
        let tokens = try inference { try model.tokens(golden.output("pixels")) }
        try expectClose(tokens, golden.output("tokens"), within: golden.tolerance)
        try inference {
            for (index, image) in try images(golden).enumerated() {
                try expectClose(
                    model(image),
                    golden.output("tokens").narrowed(0, index, 1),
                    within: golden.tolerance
                )
            }
        }
    }

    /// Loads the same weights under both naming schemes, with and without the prefix of the vision model.
    @Test(arguments: names, ["vision_model.", ""])
    func transformersNames(_ name: String, _ prefix: String) throws {
        let golden = try Golden(name)
        let originals = try golden.weights
        var theirs: [String: Tensor] = [
            prefix + "embeddings.position_ids": try .zeros([1, 17])
        ]
        for (key, tensor) in try golden.weights(named: "weights_hf") {
            theirs[key.replacing("vision_model.", with: prefix)] = tensor
        }
        let translated = try DictionaryWeights(theirs).inWanNames()
        // The projection is transposed in Wan's checkpoint, and unused in both.
        let expected = originals.keys.filter { $0 != "visual.head" }
        #expect(translated.keys.sorted() == expected.sorted())
        for key in expected {
            let original = try #require(originals[key])
            let shape = try #require(try translated.shape(key))
            try expectClose(
                translated.tensor(key, shape),
                original,
                relative: 0,
                absolute: 0,
                key
            )
        }
    }

    @Test func onlyUnusedWeightsMayBeMissingOrLeftOver() throws {
        let golden = try Golden("clip_vision_a")
        var weights = try golden.weights
        let useless = ["visual.post_norm.weight", "visual.head", "visual.transformer.2.mlp.0.bias"]
        for key in useless { weights[key] = nil }
        weights["textual.token_embedding.weight"] = try .zeros([1])
        weights["log_scale"] = try .zeros([])
        _ = try model(golden, DictionaryWeights(weights))
        weights["visual.transformer.1.mlp.0.bias"] = nil
        weights["visual.other.weight"] = try .zeros([1])
        let error = #expect(throws: SwanError.self) {
            try model(golden, DictionaryWeights(weights))
        }
        #expect(error?.message.contains("visual.transformer.1.mlp.0.bias") ?? false)
        #expect(error?.message.contains("visual.other.weight") ?? false)
        var theirs = try golden.weights(named: "weights_hf")
        theirs["vision_model.encoder.layers.1.self_attn.k_proj.bias"] = nil
        let other = #expect(throws: SwanError.self) {
            try model(golden, DictionaryWeights(theirs))
        }
        #expect(other?.message.contains("layers.1.self_attn.k_proj.bias") ?? false)
    }

    @Test func namesMismatchedImages() throws {
        let golden = try Golden("clip_vision_a")
        let model = try model(golden, DictionaryWeights(golden.weights))
        let channels = #expect(throws: SwanError.self) { try model(.zeros([1, 4, 9, 9])) }
        #expect(channels?.message.contains("[1, 4, 9, 9]") ?? false)
        let size = #expect(throws: SwanError.self) { try model.tokens(.zeros([1, 3, 224, 224])) }
        #expect(size?.message.contains("[B, 3, 56, 56]") ?? false)
    }

    @Test func configurations() throws {
        let json = """
            {"architectures": ["CLIPVisionModelWithProjection"], "hidden_act": "gelu",
             "hidden_size": 1280, "image_size": 224, "intermediate_size": 5120,
             "layer_norm_eps": 1e-05, "num_attention_heads": 16, "num_hidden_layers": 32,
             "patch_size": 14, "projection_dim": 1024}
            """
        let config = try JSONDecoder().decode(CLIPVisionConfig.self, from: Data(json.utf8))
        #expect(config == .vitH14)
        #expect(config.tokens == 257)
        let encoded = try JSONEncoder().encode(config)
        #expect(try JSONDecoder().decode(CLIPVisionConfig.self, from: encoded) == config)
        let wrong = json.replacing("16,", with: "17,")
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(CLIPVisionConfig.self, from: Data(wrong.utf8))
        }
    }

    @Test func halfPrecision() throws {
        let golden = try Golden("clip_vision_a")
        let weights = Weights(DictionaryWeights(try golden.weights), dtype: .bfloat16)
        let model = try CLIPVision(weights, golden.config())
        let tokens = try inference { try model.tokens(golden.output("pixels")) }
        #expect(tokens.dtype == .bfloat16)
        // Eight significant bits, through two blocks.
        try expectClose(
            tokens.to(.float32),
            golden.output("tokens"),
            relative: 0.05,
            absolute: 0.08
        )
    }
}
