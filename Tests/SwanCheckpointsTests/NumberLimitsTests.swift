import Foundation
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Absurd numbers in files are errors. They never trap.
@Suite struct NumberLimitsTests {
    private static let hostile = [
        "0", "-1", "65537000", "2147483648", "9223372036854775807", "-9223372036854775808", "1e30",
        "1e308", "1.5", "\"many\"", "[]", "null",
    ]

    /// Decodes `base` with `key` set to `value`.
    private func decode<Config: Decodable>(
        _ type: Config.Type,
        _ base: String,
        _ key: String,
        _ value: String
    ) throws -> Config {
        let data = Data("{\(base), \"\(key)\": \(value)}".utf8)
        return try JSONDecoder().decode(type, from: data)
    }

    @Test(arguments: [
        "dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim", "freq_dim", "text_dim",
        "text_len", "attention_head_dim", "image_dim", "pos_embed_seq_len", "vace_in_dim",
    ])
    func refusesTransformerSizes(key: String) {
        for value in Self.hostile.dropLast(2) {
            #expect(throws: DecodingError.self, "\(key): \(value)") {
                try decode(WanConfig.self, "\"eps\": 1e-6", key, value)
            }
        }
    }

    @Test(arguments: [
        ("eps", "-1"), ("eps", "2"), ("patch_size", "[1, 2]"), ("patch_size", "[1, 0, 2]"),
        ("patch_size", "[4611686018427387904, 2, 2]"), ("vace_layers", "[1, 2]"),
        ("vace_layers", "[0, 0]"), ("vace_layers", "[0, 9223372036854775807]"),
        ("num_heads", "7"), ("freq_dim", "255"), ("dim", "24"),
    ])
    func refusesInconsistentTransformers(key: String, value: String) {
        #expect(throws: DecodingError.self) {
            try decode(WanConfig.self, "\"in_dim\": 16", key, value)
        }
    }

    @Test(arguments: [
        "vocab_size", "d_model", "d_kv", "d_ff", "num_heads", "num_layers",
        "relative_attention_num_buckets", "relative_attention_max_distance",
    ])
    func refusesTextEncoderSizes(key: String) {
        var fields = [
            "vocab_size": "300", "d_model": "16", "d_kv": "8", "d_ff": "24", "num_heads": "2",
            "num_layers": "1",
        ]
        fields[key] = nil
        let base = fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ")
        for value in Self.hostile.dropLast(2) {
            #expect(throws: DecodingError.self, "\(key): \(value)") {
                try decode(UMT5Config.self, base, key, value)
            }
        }
    }

    @Test(arguments: [
        "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers",
        "patch_size",
        "image_size",
    ])
    func refusesImageEncoderSizes(key: String) {
        var fields = [
            "hidden_size": "32", "intermediate_size": "64", "num_attention_heads": "2",
            "num_hidden_layers": "2", "patch_size": "4", "image_size": "8",
        ]
        fields[key] = nil
        let base = fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ")
        for value in Self.hostile.dropLast(2) {
            #expect(throws: DecodingError.self, "\(key): \(value)") {
                try decode(CLIPVisionConfig.self, base, key, value)
            }
        }
    }

    @Test(arguments: [
        ("base_dim", hostile), ("decoder_base_dim", hostile), ("z_dim", hostile),
        ("num_res_blocks", hostile), ("patch_size", hostile), ("in_channels", hostile),
        ("dim_mult", ["[]", "[0]", "[1, 2, 9223372036854775807, 4]", "[1,1,1,1,1,1,1,1,1]"]),
        ("temperal_downsample", ["[]", "[true]", "3"]),
        ("latents_mean", ["[1e300]"]), ("latents_std", ["[-1e300]", "[0]"]),
        ("attn_scales", ["[0.5, 2]", "[-1]", "[1,1,1,1,1,1,1,1,1]"]),
    ])
    func refusesAutoencoderSizes(key: String, values: [String]) {
        for value in values where value != "null" {
            #expect(throws: DecodingError.self, "\(key): \(value)") {
                try decode(WanVAEConfig.self, "\"is_residual\": false", key, value)
            }
        }
    }

    // MARK: - Shapes

    /// A weight source that has only shapes.
    private struct Shapes: WeightSource {
        var shapes: [String: [Int]]

        var keys: [String] { Array(shapes.keys) }
        func shape(_ key: String) -> [Int]? { shapes[key] }
        func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
            try .zeros([], .float32).expanded(shape)
        }
    }

    private static let shapes: [[Int]] = [
        [], [0], [1], [1_728], [.max], [0, 0], [1, 1], [.max, 2], [1 << 40, 1 << 40],
        [0, 1, 1, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 1], [1 << 31, 1 << 31, 1 << 31, 1 << 31, 1],
        [65_536, 65_536, 3, 3, 3],
    ]

    /// Fits a part for each key with each hostile shape. Errors must be `invalidWeights`.
    private func fit(_ base: [String: [Int]], _ body: (Shapes) throws(SwanError) -> Void) {
        for key in base.keys {
            for shape in Self.shapes + [[]] where shape != base[key] {
                var source = Shapes(shapes: base)
                source.shapes[key] = shape
                do throws(SwanError) {
                    try body(source)
                } catch {
                    #expect(error.code == .invalidWeights, "\(key) \(shape): \(error)")
                }
            }
        }
    }

    @Test func transformersSurviveHostileShapes() {
        let base = [
            "patch_embedding.weight": [128, 16, 1, 2, 2], "blocks.0.ffn.0.weight": [64, 128],
            "text_embedding.0.weight": [128, 32], "time_embedding.0.weight": [128, 16],
            "head.head.weight": [64, 128], "img_emb.proj.0.weight": [32],
            "img_emb.emb_pos": [1, 10, 32], "vace_patch_embedding.weight": [128, 96, 1, 2, 2],
            "vace_blocks.0.modulation": [1, 6, 128],
        ]
        fit(base) { source throws(SwanError) in
            let config = try WanConfig().fitted(to: source)
            let weights = Weights(source)
            _ = try WanTransformer(weights, config)
            try weights.finish()
        }
    }

    @Test func autoencodersSurviveHostileShapes() {
        let base = [
            "conv2.weight": [16, 16, 1, 1, 1], "encoder.conv1.weight": [8, 3, 3, 3, 3],
            "decoder.head.2.weight": [3, 8, 3, 3, 3], "decoder.head.0.gamma": [8, 1, 1, 1],
            "encoder.downsamples.0.residual.2.weight": [8, 8, 3, 3, 3],
            "encoder.downsamples.1.resample.1.weight": [8, 8, 3, 3],
            "encoder.downsamples.2.residual.2.weight": [16, 8, 3, 3, 3],
            "decoder.upsamples.2.resample.1.weight": [16, 8, 3, 3],
        ]
        fit(base) { source throws(SwanError) in
            let config = try WanVAEConfig().fitted(to: source)
            let weights = Weights(source)
            _ = try WanVAE(weights, config)
            try weights.finish()
        }
    }

    @Test func otherPartsSurviveHostileShapes() {
        let text = [
            "token_embedding.weight": [300, 16],
            "blocks.0.pos_embedding.embedding.weight": [32, 2],
            "blocks.0.attn.q.weight": [16, 16], "blocks.0.ffn.fc1.weight": [24, 16],
        ]
        fit(text) { source throws(SwanError) in
            let config = try UMT5Config().fitted(to: source)
            let weights = Weights(source)
            _ = try UMT5Encoder(weights, config)
            try weights.finish()
        }
        let image = [
            "visual.patch_embedding.weight": [160, 3, 4, 4], "visual.pos_embedding": [1, 5, 160],
            "visual.transformer.0.mlp.0.weight": [64, 160],
            "visual.transformer.1.norm1.weight": [160],
        ]
        fit(image) { source throws(SwanError) in
            let config = try CLIPVisionConfig().fitted(to: source)
            let weights = Weights(source)
            _ = try CLIPVision(weights, config)
            try weights.finish()
        }
        var tiny = [
            "encoder.0.weight": [8, 3, 3, 3], "encoder.17.weight": [16, 8, 3, 3],
            "decoder.1.weight": [8, 16, 3, 3],
        ]
        for index in [2, 7, 12] { tiny["encoder.\(index).conv.weight"] = [8, 8, 1, 1] }
        for level in 0..<3 {
            tiny["decoder.\(7 + 6 * level).conv.weight"] = [8, 8, 1, 1]
            tiny["decoder.\(8 + 6 * level).weight"] = [8, 8, 3, 3]
        }
        fit(tiny) { source throws(SwanError) in
            let weights = Weights(source)
            _ = try TinyVAE(weights, TinyVAEConfig(of: weights))
            try weights.finish()
        }
    }

    /// Absurd layer numbers do not trap in either naming.
    @Test func survivesHostileLayerNumbers() throws {
        let numbers = ["9223372036854775807", "-1", "99999999999999999999", "1e3", "٣", ""]
        for number in numbers {
            let keys = [
                "decoder.conv_in.weight", "decoder.norm_out.gamma",
                "decoder.up_blocks.\(number).resnets.\(number).conv1.weight",
                "decoder.up_blocks.\(number).upsamplers.0.conv.weight",
                "decoder.up_blocks.0.resnets.0.conv1.weight",
            ]
            let names = try #require(CheckpointNames(keys))
            for key in keys { _ = names.diffusers(key) }
            let original = [
                "decoder.head.0.gamma", "decoder.upsamples.\(number).residual.2.weight",
                "decoder.middle.\(number).residual.2.weight",
            ]
            let back = try #require(CheckpointNames(original))
            for key in original { _ = back.diffusers(key) }
        }
    }
}
