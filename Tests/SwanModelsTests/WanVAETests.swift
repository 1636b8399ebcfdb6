import Foundation
import GoldenSupport
import SwanCheckpoints
import Testing
import Torch
import TorchNN

@testable import SwanModels
import SwanSystem

/// In float32, Swan differs from the references only by the order of additions, over about forty layers.
private let tolerance = Tolerance(absolute: 2e-5, relative: 1e-5)

private struct Case {
    let golden: Golden
    let vae: WanVAE

    /// The tolerance for its device.
    var tolerance: Tolerance { SwanModelsTests.tolerance.on(golden.device) }

    init(_ name: String, dtype: DType = .float32, on device: Device = .cpu) throws {
        golden = try Golden(name, on: device)
        let weights = Weights(DictionaryWeights(try golden.weights), dtype: dtype, device: device)
        vae = try WanVAE(weights, try golden.config())
        try weights.finish()
    }
}

/// A small network with random weights, for tests without a reference.
private func randomVAE(_ change: (inout WanVAEConfig) -> Void) throws -> WanVAE {
    var config = WanVAEConfig()
    config.baseDim = 4
    config.decoderBaseDim = 4
    config.zDim = 3
    config.numResBlocks = 1
    config.latentsMean = [0.1, -0.2, 0.3]
    config.latentsStd = [1.5, 0.5, 1.0]
    change(&config)
    return try WanVAE(Weights(MadeWeights.random(seed: 5)), config)
}

private func patched(_ config: inout WanVAEConfig) {
    config.dimMult = [1, 2, 3]
    config.temporalDownsample = [true, true]
    config.patchSize = 2
    config.inChannels = 12
    config.outChannels = 12
}

private func residual(_ config: inout WanVAEConfig) {
    config.isResidual = true
    config.dimMult = [1, 2, 2]
}

@Suite struct WanVAETests {
    @Test(arguments: [
        ("wan_vae21_a", [1, 5, 9, 17]), ("wan_vae21_b", [5, 9]), ("wan_vae22", [1, 5, 9]),
    ])
    func wholeVideos(name: String, counts: [Int]) throws {
        for device in Device.tested {
            try expectWholeVideos(Case(name, on: device), counts)
        }
    }

    private func expectWholeVideos(_ it: Case, _ counts: [Int]) throws {
        for count in counts {
            let (mean, logVariance) = try it.vae.moments(it.golden.input("video_\(count)"))
            for (actual, output) in [(mean, "mean"), (logVariance, "logvar")] {
                try expectClose(
                    actual,
                    it.golden.output("\(output)_\(count)"),
                    within: it.tolerance,
                    "\(output) of \(count) frames"
                )
            }
            try expectClose(
                it.vae.decode(it.golden.input("latents_\(count)")),
                it.golden.output("decoded_\(count)"),
                within: it.tolerance,
                "\(count) frames decoded"
            )
        }
    }

    @Test func normalization() throws {
        let it = try Case("wan_vae21_a")
        let mean = try it.vae.encode(it.golden.input("video_9"))
        let normalized = try it.vae.normalized(mean)
        try expectClose(
            normalized,
            it.golden.output("normalized_9"),
            within: it.tolerance
        )
        try expectClose(try it.vae.denormalized(normalized), mean, absolute: tolerance.absolute)
    }

    @Test func clampsOnlyOnRequest() throws {
        let it = try Case("wan_vae22")
        let raw = try it.vae.decode(it.golden.input("latents_9"), clamped: false)
        try expectClose(
            raw,
            it.golden.output("decoded_raw_9"),
            within: it.tolerance
        )
    }

    /// Both chunk sizes of the reference's stream, which encodes to raw means and decodes normalized latents.
    @Test(arguments: Device.tested) func streamsLikeTheReference(device: Device) throws {
        let it = try Case("wan_vae21_a", on: device)
        let video = try it.golden.input("video_17")
        let latents = try it.golden.output("normalized_17")
        for frames in [[5, 4, 4, 4], [13, 4]] {
            let encoded = try encode(it.vae, video, frames)
            try expectClose(
                encoded,
                it.golden.output("stream_encoded"),
                within: it.tolerance,
                "encoded by \(frames)"
            )
            try expectClose(
                it.vae.normalized(encoded),
                it.golden.output("stream_encoded_normalized"),
                within: it.tolerance,
                "normalized, by \(frames)"
            )
        }
        for counts in [[2, 1, 1, 1], [4, 1]] {
            let decoded = try decode(it.vae, it.vae.denormalized(latents), counts)
            try expectClose(
                decoded,
                it.golden.output("stream_decoded"),
                within: it.tolerance,
                "decoded by \(counts)"
            )
        }
    }

    /// Every way to split a video gives the same bytes as the whole.
    @Test(arguments: ["2.1", "2.1 in patches", "sub-pixel", "2.2"])
    func partsEqualTheWhole(kind: String) throws {
        let vae = try randomVAE { config in
            if kind != "2.1" { patched(&config) }
            if kind == "2.2" { residual(&config) }
            config.subpixelUpsample = kind == "sub-pixel"
            if kind == "2.1" { config.attnScales = [0.5] }
        }
        let stride = vae.config.spatialStride
        let generator = try Generator(seed: 11)
        let video = try Tensor.randn([2, 3, 17, 3 * stride, stride], generator)
        let latents = try vae.encode(video)
        #expect(latents.shape == [2, 3, 5, 3, 1])
        let decoded = try vae.decode(latents, clamped: false)
        #expect(decoded.shape == video.shape)
        for frames in [[1, 4, 4, 4, 4], [5, 8, 4], [17]] {
            #expect(try bytes(encode(vae, video, frames)) == bytes(latents), "\(frames)")
        }
        for counts in [[1, 1, 1, 1, 1], [2, 3], [1, 4]] {
            #expect(try bytes(decode(vae, latents, counts)) == bytes(decoded), "\(counts)")
        }
    }

    @Test(arguments: ["2.1 in patches", "sub-pixel", "2.2"])
    func sizesAreReadFromWeights(kind: String) throws {
        var config = WanVAEConfig()
        (config.baseDim, config.decoderBaseDim, config.numResBlocks) = (4, 4, 1)
        patched(&config)
        if kind == "2.2" { residual(&config) }
        config.subpixelUpsample = kind == "sub-pixel"
        let made = try MadeWeights.random(seed: 5)
        _ = try WanVAE(Weights(made), config)
        #expect(try WanVAEConfig().fitted(to: DictionaryWeights(made.tensors)) == config)
    }

    /// Processing all frames at once, as in training, gives the same result as streaming.
    @Test(arguments: ["2.1", "2.1 in patches", "sub-pixel", "2.2"], Device.tested)
    func trainingSeesTheSameNumbers(kind: String, device: Device) throws {
        let made = try MadeWeights.random(seed: 5)
        var config = WanVAEConfig()
        config.baseDim = 4
        config.decoderBaseDim = 4
        config.zDim = 2
        config.latentsMean = [0, 0]
        config.latentsStd = [1, 1]
        config.numResBlocks = 1
        if kind != "2.1" { patched(&config) }
        if kind == "2.2" { residual(&config) }
        config.subpixelUpsample = kind == "sub-pixel"
        let stream = try WanVAE(Weights(made, device: device), config)
        var leaves: [String: Tensor] = [:]
        for (key, tensor) in made.tensors {
            leaves[key] = try tensor.cloned().to(device)
            try leaves[key]?.setRequiresGrad()
        }
        let trained = try WanVAE(Weights(DictionaryWeights(leaves), device: device), config)
        let generator = try Generator(seed: 2)
        let side = 2 * config.spatialStride
        let video = try Tensor.randn([2, 3, 9, side, side], generator).to(device)

        let latents = try trained.encode(video)
        let output = try trained.decode(latents, clamped: false)
        #expect(output.requiresGrad)
        try expectClose(
            output.detached(),
            try stream.decode(stream.encode(video), clamped: false),
            relative: 1e-4,
            absolute: 1e-4
        )

        // Every weight takes part, except those of the unused log-variance.
        let keys = leaves.keys.sorted()
        let found = try gradients(of: output.pow(2).mean(), for: keys.compactMap { leaves[$0] })
        for (key, gradient) in zip(keys, found) {
            let gradient = try #require(gradient, "no gradient for \(key)")
            let largest = try gradient.abs().max().item()
            #expect(largest.isFinite && largest > 0, "\(key)")
        }
    }

    @Test func gradientsMatchFiniteDifferences() throws {
        // Changing one weight changes the output as predicted by the gradient.
        var config = WanVAEConfig()
        config.baseDim = 4
        config.decoderBaseDim = 4
        config.zDim = 1
        config.dimMult = [1, 2]
        config.temporalDownsample = [true]
        config.numResBlocks = 1
        config.latentsMean = [0]
        config.latentsStd = [1]
        let made = try MadeWeights.random(seed: 8)
        _ = try WanVAE(Weights(made), config)
        let video = try Tensor.randn([1, 3, 5, 4, 4], Generator(seed: 3), .float64)
        func loss(_ tensors: [String: Tensor]) throws -> Tensor {
            let vae = try WanVAE(Weights(DictionaryWeights(tensors), dtype: .float64), config)
            return try vae.decode(vae.encode(video), clamped: false).pow(2).mean()
        }
        for key in [
            "decoder.upsamples.2.resample.1.weight", "decoder.upsamples.2.time_conv.weight",
            "encoder.downsamples.1.time_conv.weight", "encoder.downsamples.1.resample.1.weight",
            "encoder.middle.1.to_qkv.weight", "decoder.middle.0.residual.3.gamma",
        ] {
            var tensors: [String: Tensor] = [:]
            for (name, tensor) in made.tensors { tensors[name] = try tensor.to(.float64).cloned() }
            let leaf = try #require(tensors[key])
            try leaf.setRequiresGrad()
            let gradient = try #require(try gradients(of: loss(tensors), for: [leaf])[0])
            let direction = try Tensor.randn(leaf.shape, Generator(seed: 4), .float64)
            let step = 1e-6
            var values: [Double] = []
            for sign in [1.0, -1.0] {
                tensors[key] = try leaf.detached() + direction * (sign * step)
                values.append(try loss(tensors).item())
            }
            let measured = (values[0] - values[1]) / (2 * step)
            let expected = try (gradient * direction).sum().item()
            #expect(abs(measured - expected) <= 1e-6 * max(1, abs(expected)), "\(key)")
        }
    }

    /// bfloat16 has 8 significant bits; after about forty layers, the error is a few percent of the spread.
    @Test(arguments: [DType.bfloat16, .float16], Device.tested)
    func halfPrecision(dtype: DType, device: Device) throws {
        let it = try Case("wan_vae21_a", dtype: dtype, on: device)
        let limit = dtype == .bfloat16 ? 0.05 : 0.01
        for (actual, expected) in [
            (try it.vae.encode(it.golden.input("video_9")), try it.golden.output("mean_9")),
            (try it.vae.decode(it.golden.input("latents_9")), try it.golden.output("decoded_9")),
        ] {
            #expect(actual.dtype == dtype)
            let error = try (actual.to(.float32) - expected).norm().item() / expected.norm().item()
            #expect(error < limit)
        }
    }

    @Test func namesInvalidSizes() throws {
        let vae = try randomVAE(patched)
        #expect(vae.config.spatialStride == 8 && vae.config.temporalStride == 4)
        let size = try vae.latentSize(height: 24, width: 40)
        #expect(size == (3, 5))
        func message(_ body: () throws -> Void) -> String {
            #expect(throws: SwanError.self, performing: body)?.message ?? ""
        }
        #expect(message { _ = try vae.latentSize(height: 30, width: 41) }.contains("40x32"))
        #expect(message { _ = try vae.encode(.zeros([1, 3, 4, 8, 8])) }.contains("1, 5 or 9"))
        #expect(
            message { _ = try vae.encode(.zeros([1, 12, 1, 8, 8])) }.contains("[B, 3, T, H, W]")
        )
        #expect(
            message { _ = try vae.decode(.zeros([1, 4, 1, 1, 1])) }.contains("[B, 3, F, h, w]")
        )
        var state = WanVAE.DecoderState()
        _ = try vae.decode(.zeros([1, 3, 1, 2, 2]), state: &state)
        var failed = ""
        do {
            _ = try vae.decode(.zeros([1, 3, 1, 2, 3]), state: &state)
        } catch { failed = error.message }
        #expect(failed.contains("size of a stream cannot change"))
    }

    @Test func configurations() throws {
        let published = #"""
            {"_class_name": "AutoencoderKLWan", "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48,
             "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [], "dropout": 0.0,
             "temperal_downsample": [false, true, true], "is_residual": true, "in_channels": 12,
             "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16,
             "latents_mean": MEAN, "latents_std": STD}
            """#
            .replacing("MEAN", with: "\(WanVAEConfig.wan22.latentsMean)")
            .replacing("STD", with: "\(WanVAEConfig.wan22.latentsStd)")
        let read = try JSONDecoder().decode(WanVAEConfig.self, from: Data(published.utf8))
        #expect(read == .wan22)
        #expect(read.spatialStride == 16)
        let plain = try JSONDecoder().decode(
            WanVAEConfig.self,
            from: Data(#"{"patch_size": null}"#.utf8)
        )
        #expect(plain == .wan21)
        #expect(plain.spatialStride == 8)
        var subpixels = WanVAEConfig.wan21
        subpixels.subpixelUpsample = true
        for config in [WanVAEConfig.wan21, .wan22, subpixels] {
            try config.validate()
            let copy = try JSONDecoder().decode(
                WanVAEConfig.self,
                from: JSONEncoder().encode(config)
            )
            #expect(copy == config)
        }
        subpixels.isResidual = true
        let refusal = #expect(throws: SwanError.self) { try subpixels.validate() }
        #expect(refusal?.message.contains("subpixel_upsample") == true)
        var uneven = WanVAEConfig.wan22
        uneven.dimMult = [1, 2, 3, 4]
        #expect(throws: SwanError.self) { try uneven.validate() }
        var wrong = WanVAEConfig.wan22
        wrong.latentsStd.removeLast()
        let error = #expect(throws: SwanError.self) { try wrong.validate() }
        #expect(error?.message.contains("latents_std has 47 values") == true)
    }

    /// Each call returns the next frames of a video, without overwriting earlier results.
    @Test func outputsAreNotOverwritten() throws {
        let vae = try randomVAE { _ in }
        var state = WanVAE.DecoderState()
        let latents = try Tensor.randn([1, 3, 3, 2, 2], Generator(seed: 6))
        let first = try vae.decode(latents.narrowed(2, 0, 2), state: &state)
        let before = try bytes(first)
        _ = try vae.decode(latents.narrowed(2, 2, 1), state: &state)
        #expect(try bytes(first) == before)
    }
}

private func encode(_ vae: WanVAE, _ video: Tensor, _ counts: [Int]) throws -> Tensor {
    var state = WanVAE.EncoderState()
    var parts: [Tensor] = []
    for part in try video.split(counts, dim: 2) {
        parts.append(try vae.encode(part, state: &state))
    }
    return try concatenated(parts, dim: 2)
}

private func decode(_ vae: WanVAE, _ latents: Tensor, _ counts: [Int]) throws -> Tensor {
    var state = WanVAE.DecoderState()
    var parts: [Tensor] = []
    for part in try latents.split(counts, dim: 2) {
        parts.append(try vae.decode(part, state: &state, clamped: false))
    }
    return try concatenated(parts, dim: 2)
}

private func bytes(_ tensor: Tensor) throws -> [UInt32] {
    try tensor.array(of: Float.self).map(\.bitPattern)
}
