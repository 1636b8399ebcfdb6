import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Compares the transformer with image tokens with the reference implementations.
@Suite struct ImageToVideoTests {
    private func flow(_ golden: Golden, _ config: WanConfig, image: Tensor) throws -> Tensor {
        let weights = Weights(DictionaryWeights(try golden.weights), device: golden.device)
        let model = try WanTransformer(weights, config)
        try weights.finish()
        return try inference {
            try model(
                golden.input("video"),
                timesteps: golden.input("timestep"),
                text: model.text(golden.input("context"), image: image)
            )
        }
    }

    @Test(arguments: ["wan_i2v", "wan_i2v_36", "wan_flf2v"], Device.tested)
    func imageTokens(name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let flow = try flow(golden, golden.config(), image: golden.input("image"))
        try expectClose(flow, golden.output("video"), within: golden.tolerance)
    }

    /// The two images of a video may be passed side by side or one after the other.
    @Test func twoImagesSideBySide() throws {
        let golden = try Golden("wan_flf2v")
        let image = try golden.input("image").reshaped(2, 514, 32)
        let flow = try flow(golden, golden.config(), image: image)
        try expectClose(flow, golden.output("video"), within: golden.tolerance)
    }

    @Test func sharesOneImageAcrossRows() throws {
        let golden = try Golden("wan_i2v")
        let image = try golden.input("image").narrowed(0, 0, 1)
        let one = try flow(golden, golden.config(), image: image)
        let two = try flow(golden, golden.config(), image: image.expanded([2, -1, -1]))
        try expectClose(one, two, relative: 1e-5, absolute: 1e-5)
        let first = try golden.output("video").narrowed(0, 0, 1)
        try expectClose(one.narrowed(0, 0, 1), first, within: golden.tolerance)
    }

    @Test func namesMismatchedImages() throws {
        let golden = try Golden("wan_flf2v")
        let config: WanConfig = try golden.config()
        for shape in [[2, 514, 31], [1, 257, 32], [2, 300, 32]] {
            let error = #expect(throws: SwanError.self) {
                try flow(golden, config, image: .zeros(shape))
            }
            #expect(error?.message.contains("\(shape)") ?? false)
        }
        let model = try WanTransformer(Weights(DictionaryWeights(golden.weights)), config)
        let none = #expect(throws: SwanError.self) { try model.text(golden.input("context")) }
        #expect(none?.message.contains("none are given") ?? false)
        let plain = try Golden("wan_t2v_a")
        let textOnly = try WanTransformer(
            Weights(DictionaryWeights(plain.weights)),
            plain.config()
        )
        let some = #expect(throws: SwanError.self) {
            try textOnly.text(plain.input("context"), image: golden.input("image"))
        }
        #expect(some?.message.contains("text alone") ?? false)
    }

    /// Completes a configuration that contains only what the shapes do not show.
    @Test(arguments: [
        "wan_i2v", "wan_i2v_36", "wan_flf2v", "wan_t2v_a", "wan_t2v_b", "wan_ti2v_per_token",
    ])
    func infersSizesFromWeights(name: String) throws {
        let golden = try Golden(name)
        let expected: WanConfig = try golden.config()
        var bare = WanConfig()
        (bare.dim, bare.heads) = (expected.dim, expected.heads)
        (bare.textLen, bare.eps) = (expected.textLen, expected.eps)
        (bare.imageDim, bare.imagePositions, bare.vaceLayers) = (7, 9, [0])
        #expect(try bare.fitted(to: DictionaryWeights(golden.weights)) == expected)
    }

    /// Identifies Wan's published models by the shapes of their weights alone.
    @Test(arguments: Published.models)
    func publishedModels(model: Published) throws {
        let config = try WanConfig().fitted(to: DictionaryWeights(model.weights))
        #expect(config == model.config)
    }

    @Test func refusesOtherWeights() throws {
        let small = try Golden("wan_t2v_a")
        let error = #expect(throws: SwanError.self) {
            try WanConfig().fitted(to: DictionaryWeights(small.weights))
        }
        #expect(error?.message.contains("num_heads") ?? false)
        let other = #expect(throws: SwanError.self) {
            try WanConfig().fitted(to: DictionaryWeights(Golden("umt5_a").weights))
        }
        #expect(other?.message.contains("patch_embedding.weight") ?? false)
        let made = try WanConfig.wan14B.fitted(to: MadeWeights.random())
        #expect(made == .wan14B)
    }

    @Test func decodesDiffusersConfig() throws {
        let json = """
            {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824,
             "num_layers": 40, "in_channels": 36, "out_channels": 16, "image_dim": 1280,
             "added_kv_proj_dim": 5120, "pos_embed_seq_len": 514}
            """
        let config = try JSONDecoder().decode(WanConfig.self, from: Data(json.utf8))
        #expect((config.imageDim, config.imagePositions) == (1_280, 514))
        let again = try JSONDecoder().decode(WanConfig.self, from: JSONEncoder().encode(config))
        #expect(again == config)
        let none = #"{"image_dim": null, "added_kv_proj_dim": null, "pos_embed_seq_len": null}"#
        let plain = try JSONDecoder().decode(WanConfig.self, from: Data(none.utf8))
        #expect(plain == .wan1_3B)
    }
}

/// The configuration of a published model, and stand-in weights of the same shapes.
struct Published: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let config: WanConfig

    static let models: [Published] = [
        Published("Wan2.1-T2V-1.3B", .wan1_3B), Published("Wan2.1-T2V-14B", .wan14B),
        Published("Wan2.1-I2V-14B", .wan14B) { ($0.inDim, $0.imageDim) = (36, 1_280) },
        Published("Wan2.1-FLF2V-14B", .wan14B) {
            ($0.inDim, $0.imageDim, $0.imagePositions) = (36, 1_280, 514)
        },
        Published("Wan2.1-VACE-1.3B", .wan1_3B) {
            ($0.vaceInDim, $0.vaceLayers) = (96, Array(stride(from: 0, to: 30, by: 2)))
        },
        Published("Wan2.1-VACE-14B", .wan14B) {
            ($0.vaceInDim, $0.vaceLayers) = (96, Array(stride(from: 0, to: 40, by: 5)))
        },
        Published("Wan2.2-I2V-A14B", .wan14B) { $0.inDim = 36 },
        Published("Wan2.2-TI2V-5B", .wan1_3B) {
            ($0.dim, $0.ffnDim, $0.heads, $0.inDim, $0.outDim) = (3_072, 14_336, 24, 48, 48)
        },
    ]

    private init(_ name: String, _ base: WanConfig, _ change: (inout WanConfig) -> Void = { _ in })
    {
        var config = base
        change(&config)
        (self.testDescription, self.config) = (name, config)
    }

    var weights: [String: Tensor] {
        get throws {
            let (dim, patch) = (config.dim, config.patchSize)
            var shapes = [
                "patch_embedding.weight": [dim, config.inDim] + patch,
                "text_embedding.0.weight": [dim, config.textDim],
                "time_embedding.0.weight": [dim, config.freqDim],
                "head.head.weight": [config.outDim * patch.reduce(1, *), dim],
            ]
            for layer in 0..<config.layers {
                shapes["blocks.\(layer).ffn.0.weight"] = [config.ffnDim, dim]
                shapes["blocks.\(layer).norm3.weight"] = [dim]
                shapes["blocks.\(layer).self_attn.norm_q.weight"] = [dim]
            }
            for layer in config.vaceLayers?.indices ?? 0..<0 {
                shapes["vace_blocks.\(layer).after_proj.weight"] = [dim, dim]
            }
            shapes["vace_patch_embedding.weight"] = config.vaceInDim.map { [dim, $0] + patch }
            shapes["img_emb.proj.0.weight"] = config.imageDim.map { [$0] }
            shapes["img_emb.emb_pos"] = config.imagePositions.map { [1, $0, 1_280] }
            let nothing = try Tensor.zeros([])
            return try shapes.mapValues { try nothing.expanded($0) }
        }
    }
}
