import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Compares with transformers' `UMT5EncoderModel` and Wan's own encoder (Goldens/umt5_a, umt5_b).
struct UMT5Tests {
    private static let goldens = ["umt5_a", "umt5_b"]

    private static func encoder(
        _ golden: Golden,
        dtype: DType = .float32
    ) throws -> UMT5Encoder {
        let config = try JSONDecoder().decode(UMT5Config.self, from: golden.configData)
        let weights = Weights(
            DictionaryWeights(try golden.weights),
            dtype: dtype,
            device: golden.device
        )
        let encoder = try UMT5Encoder(weights, config)
        try weights.finish()
        return encoder
    }

    private static func prompts(_ golden: Golden) throws -> [[Int32]] {
        let (ids, mask) = (try golden.input("ids"), try golden.input("mask"))
        return try (0..<ids.size(0)).map { row in
            let kept: [Int] = try mask.selected(0, row).array()
            return Array(try ids.selected(0, row).array().prefix(kept.reduce(0, +)))
        }
    }

    @Test(arguments: goldens, Device.tested)
    func everyPosition(_ name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let hidden = try Self.encoder(golden)(golden.input("ids"), mask: golden.input("mask"))
        try expectClose(hidden, golden.output("hidden"), within: golden.tolerance)
    }

    @Test(arguments: goldens, Device.tested)
    func paddingIsZero(_ name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let expected = try golden.output("context")
        let encoder = try Self.encoder(golden)
        let context = try encoder.encode(Self.prompts(golden), length: expected.size(1))
        try expectClose(context, expected, within: golden.tolerance)
    }

    @Test func omittedPaddingChangesNothing() throws {
        let golden = try Golden("umt5_a")
        let encoder = try Self.encoder(golden)
        let short = try Array(Self.prompts(golden).dropFirst())  // 9 tokens and 1
        let expected = try golden.output("context").sliced(0, from: 1)
        let tolerance = try golden.tolerance
        let context = try encoder.encode(short)
        #expect(context.shape == [2, 9, 32])
        try expectClose(context, expected.sliced(1, 0..<9), within: tolerance)
        let padded = try encoder.encode(short, length: 512)
        #expect(padded.shape == [2, 512, 32])
        try expectClose(padded.sliced(1, 0..<24), expected, within: tolerance)
        #expect(try padded.sliced(1, from: 9).abs().max().item() == 0)
        #expect(try padded.selected(0, 1).sliced(0, from: 1).abs().max().item() == 0)
    }

    @Test func batchingDoesNotChangeAPrompt() throws {
        let golden = try Golden("umt5_a")
        let encoder = try Self.encoder(golden)
        let prompts = try Self.prompts(golden)
        let together = try encoder.encode(prompts)
        for (row, prompt) in prompts.enumerated() {
            try expectClose(
                encoder.encode([prompt]).selected(0, 0),
                together.selected(0, row).sliced(0, 0..<prompt.count),
                relative: 1e-4,
                absolute: 1e-5,
                "prompt \(row)"
            )
        }
    }

    @Test(arguments: goldens, Device.tested)
    func bfloat16(_ name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let expected = try golden.output("context")
        let context = try Self.encoder(golden, dtype: .bfloat16)
            .encode(Self.prompts(golden), length: expected.size(1))
        #expect(context.dtype == .bfloat16)
        let error = try (context.to(.float32) - expected).norm().item()
        #expect(try error < 0.03 * expected.norm().item())
    }

    @Test(arguments: goldens) func transformersKeys(_ name: String) throws {
        let golden = try Golden(name)
        let theirs = try DictionaryWeights(golden.weights(named: "weights_hf"))
        let renamed = try theirs.inWanNames()
        #expect(try Set(renamed.keys) == Set(golden.weights.keys))
        for (key, value) in try golden.weights {
            try expectClose(renamed.tensor(key, value.shape), value, relative: 0, absolute: 0, key)
        }
    }

    @Test func gradientsMatchFiniteDifferences() throws {
        let golden = try Golden("umt5_a")
        let config = try JSONDecoder().decode(UMT5Config.self, from: golden.configData)
        let prompts = try Self.prompts(golden)
        let target = try Tensor.randn([3, 24, 32], Generator(seed: 8), .float64)
        var leaves = try golden.weights.mapValues { try $0.to(.float64) }
        func loss(_ tensors: [String: Tensor]) throws -> Tensor {
            let weights = Weights(DictionaryWeights(tensors), dtype: .float64)
            return try (UMT5Encoder(weights, config).encode(prompts) * target).sum()
        }
        for leaf in leaves.values { try leaf.setRequiresGrad() }
        let keys = leaves.keys.sorted()
        let found = try gradients(of: loss(leaves), for: keys.map { try #require(leaves[$0]) })
        for leaf in leaves.values { try leaf.setRequiresGrad(false) }
        let generator = try Generator(seed: 9)
        for (key, gradient) in zip(keys, found) {
            let gradient = try #require(gradient, "no gradient for \(key)")
            let leaf = try #require(leaves[key])
            let direction = try Tensor.randn(leaf.shape, generator, .float64)
            let h = 1e-5
            leaves[key] = try leaf + direction * h
            let above = try loss(leaves).item()
            leaves[key] = try leaf - direction * h
            let below = try loss(leaves).item()
            leaves[key] = leaf
            let (slope, expected) = (
                try (gradient * direction).sum().item(), (above - below) / (2 * h)
            )
            #expect(abs(slope - expected) <= 1e-5 * max(1, abs(expected)), "\(key): \(slope)")
        }
    }

    @Test func tokensOutsideTheVocabulary() throws {
        let encoder = try Self.encoder(Golden("umt5_a"))
        for token: Int32 in [100, -1] {
            let error = #expect(throws: SwanError.self) { try encoder.encode([[5, token, 1]]) }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.contains("token \(token)") == true)
        }
    }

    @Test func refusesATooLongPrompt() throws {
        let encoder = try Self.encoder(Golden("umt5_a"))
        let error = #expect(throws: SwanError.self) {
            try encoder.encode([[5, 6, 7, 1]], length: 3)
        }
        #expect(error?.message.contains("4 tokens") == true)
    }

    @Test func emptyPromptsAreAllPadding() throws {
        let context = try Self.encoder(Golden("umt5_a")).encode([[], [4, 1]])
        #expect(try context.isFinite().all())
        #expect(try context.selected(0, 0).abs().max().item() == 0)
    }

    @Test func configurations() throws {
        let xxl = UMT5Config.xxl
        #expect(xxl.attentionDim == 4_096)
        let copy = try JSONDecoder().decode(UMT5Config.self, from: JSONEncoder().encode(xxl))
        #expect(copy == xxl)
        for wrong in [
            "\"d_model\": 0", "\"num_layers\": -1", "\"relative_attention_num_buckets\": 6",
        ] {
            let key = wrong.prefix { $0 != ":" }
            let sizes = [
                "\"vocab_size\": 9", "\"d_model\": 8", "\"d_kv\": 4", "\"d_ff\": 8",
                "\"num_heads\": 2", "\"num_layers\": 1",
            ].filter { !$0.hasPrefix(key) }
            let json = "{" + (sizes + [wrong]).joined(separator: ", ") + "}"
            #expect(throws: DecodingError.self, "\(json)") {
                try JSONDecoder().decode(UMT5Config.self, from: Data(json.utf8))
            }
        }
    }
}
