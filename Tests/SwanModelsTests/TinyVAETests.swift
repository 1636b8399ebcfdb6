import GoldenSupport
import Testing
import Torch
import TorchNN

@testable import SwanModels
import SwanSystem

private struct Case {
    let golden: Golden
    let vae: TinyVAE

    init(_ name: String, dtype: DType = .float32, on device: Device = .cpu) throws {
        golden = try Golden(name, on: device)
        let weights = Weights(DictionaryWeights(try golden.weights), dtype: dtype, device: device)
        vae = try TinyVAE(weights)
        try weights.finish()
    }
}

/// A network of the published architecture with small random layers.
private func small(_ change: (inout TinyVAEConfig) -> Void = { _ in }) throws -> TinyVAE {
    var config = TinyVAEConfig()
    (config.latentChannels, config.encoderDim, config.decoderDims) = (5, 8, [12, 8, 8, 8])
    change(&config)
    return try TinyVAE(Weights(MadeWeights.random(seed: 3)), config)
}

@Suite struct TinyVAETests {
    @Test(arguments: [
        ("tiny_vae21", [1, 5, 9]), ("tiny_vae22", [5, 9]), ("tiny_vae22_super", [5, 9]),
    ])
    func wholeVideos(name: String, counts: [Int]) throws {
        for device in Device.tested {
            try expectWholeVideos(Case(name, on: device), counts)
        }
    }

    private func expectWholeVideos(_ it: Case, _ counts: [Int]) throws {
        for count in counts {
            try expectClose(
                it.vae.latents(of: it.golden.input("video_\(count)")),
                it.golden.output("latents_\(count)"),
                within: it.golden.tolerance,
                "latents of \(count) frames"
            )
            try expectClose(
                it.vae.video(of: it.golden.input("noise_\(count)")),
                it.golden.output("decoded_\(count)"),
                within: it.golden.tolerance,
                "\(count) frames decoded"
            )
        }
    }

    /// Every way to split a video gives the same bytes as the whole, whose last frame is repeated.
    @Test(arguments: ["tiny_vae21", "tiny_vae22", "tiny_vae22_super"])
    func partsEqualTheWhole(name: String) throws {
        let it = try Case(name)
        let (video, noise) = try (it.golden.input("video_9"), it.golden.input("noise_9"))
        let latents = try it.vae.latents(of: video)
        let frames = try it.vae.video(of: noise)
        #expect(it.vae.lookahead == 3)
        let last = try video.narrowed(2, 8, 1)
        let padded = try concatenated([video, last, last, last], dim: 2)
        for counts in [[4, 4, 4], [8, 4], [4, 8]] {
            let encoder = try it.vae.makeEncoder()
            let parts = try padded.split(counts, dim: 2).map { try encoder.encode($0) }
            try expectClose(
                concatenated(parts, dim: 2),
                latents,
                relative: 0,
                absolute: 0,
                "\(counts)"
            )
        }
        for counts in [[1, 1, 1], [2, 1], [1, 2]] {
            let decoder = it.vae.makeDecoder()
            let parts = try noise.split(counts, dim: 2).map { try decoder.decode($0) }
            #expect(parts.map { $0.size(2) } == [4 * counts[0] - 3] + counts[1...].map { 4 * $0 })
            try expectClose(
                concatenated(parts, dim: 2),
                frames,
                relative: 0,
                absolute: 0,
                "\(counts)"
            )
        }
    }

    /// The next part does not overwrite earlier results of a stream.
    @Test func outputsAreNotOverwritten() throws {
        let vae = try small()
        let decoder = vae.makeDecoder()
        let latents = try Tensor.randn([1, 5, 2, 3, 2], Generator(seed: 6))
        let first = try decoder.decode(latents.narrowed(2, 0, 1))
        let before = try first.cloned()
        _ = try decoder.decode(latents.narrowed(2, 1, 1))
        try expectClose(first, before, relative: 0, absolute: 0)
    }

    @Test func sizesAreReadFromWeights() throws {
        let it = try Case("tiny_vae21")
        #expect(it.vae.latentChannels == 4 && it.vae.spatialStride == 8)
        #expect(it.vae.temporalStride == 4 && it.vae.config.decoderDims == [16, 12, 8, 8])
        let patched = try Case("tiny_vae22")
        #expect(patched.vae.latentChannels == 6 && patched.vae.spatialStride == 16)
        // The decoder of the file makes eight frames per latent; the encoder makes one latent of four.
        #expect(patched.vae.config.decoderTime == [2, 2, 2])
        #expect(patched.vae.config.usedDecoderTime == [1, 2, 2])
        #expect(try Case("tiny_vae22_super").vae.config.isSuper)
        for config in [TinyVAEConfig.wan21, .wan22] {
            let made = try MadeWeights.random(seed: 1)
            _ = try TinyVAE(Weights(made), config)
            #expect(try TinyVAEConfig(of: Weights(DictionaryWeights(made.tensors))) == config)
        }
    }

    @Test func refusesOtherWeights() throws {
        var tensors = try Golden("tiny_vae21").weights
        func message() -> String {
            let weights = Weights(DictionaryWeights(tensors))
            return #expect(throws: SwanError.self) { try TinyVAE(weights) }?.message ?? ""
        }
        tensors["encoder.7.conv.weight"] = try .zeros([8, 24, 1, 1])
        #expect(message().contains("[2, 3, 1]"))
        tensors["encoder.7.conv.weight"] = nil
        #expect(message().contains("encoder.7.conv.weight"))
        tensors["encoder.0.weight"] = try .zeros([8, 5, 3, 3])
        #expect(message().contains("5 channels"))
        let wan = try Golden("wan_vae21_a").weights
        let error = #expect(throws: SwanError.self) {
            try TinyVAE(Weights(DictionaryWeights(wan)))
        }
        #expect(error?.message.contains("not the weights of a tiny autoencoder") == true)
    }

    /// Unnormalized latents use Wan's statistics, and are refused if these are unknown.
    @Test func unnormalizedLatents() throws {
        let vae = try small { $0.latentChannels = 16 }
        let video = try Tensor.rand([1, 3, 4, 16, 8], Generator(seed: 2)) * 2 - 1
        let normalized = try vae.makeEncoder().encode(video)
        let config = WanVAEConfig.wan21
        let (mean, std) = try (
            Tensor(config.latentsMean, [16, 1, 1, 1]), Tensor(config.latentsStd, [16, 1, 1, 1])
        )
        try expectClose(
            vae.makeEncoder(normalizing: false).encode(video),
            normalized * std.to(.float32) + mean.to(.float32)
        )
        let error = #expect(throws: SwanError.self) {
            try small().makeEncoder(normalizing: false)
        }
        #expect(error?.message.contains("of 5 channels") == true)
    }

    @Test func namesInvalidSizes() throws {
        let vae = try small()
        func message(_ body: () throws -> Void) -> String {
            #expect(throws: SwanError.self, performing: body)?.message ?? ""
        }
        #expect(message { _ = try vae.latents(of: .zeros([1, 3, 4, 8, 8])) }.contains("1, 5 or 9"))
        #expect(message { _ = try vae.latents(of: .zeros([1, 3, 1, 8, 12])) }.contains("16x8"))
        #expect(message { _ = try vae.video(of: .zeros([1, 4, 1, 1, 1])) }.contains("[B, 5, F, h"))
        let encoder = try vae.makeEncoder()
        #expect(message { _ = try encoder.encode(.zeros([1, 3, 5, 8, 8])) }.contains("4, 8 or 12"))
        _ = try encoder.encode(.zeros([1, 3, 4, 8, 8]))
        #expect(
            message { _ = try encoder.encode(.zeros([1, 3, 4, 8, 16])) }.contains("cannot change")
        )
    }

    @Test(arguments: [DType.bfloat16, .float16], Device.tested)
    func halfPrecision(dtype: DType, device: Device) throws {
        let it = try Case("tiny_vae22", dtype: dtype, on: device)
        let limit = dtype == .bfloat16 ? 0.05 : 0.01
        for (actual, expected) in [
            (try it.vae.latents(of: it.golden.input("video_9")), "latents_9"),
            (try it.vae.video(of: it.golden.input("noise_9")), "decoded_9"),
        ] {
            #expect(actual.dtype == dtype)
            let golden = try it.golden.output(expected)
            let error = try (actual.to(.float32) - golden).norm().item() / golden.norm().item()
            #expect(error < limit, "\(expected): \(error)")
        }
    }
}
