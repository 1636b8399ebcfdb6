import GoldenSupport
import Testing
import Torch
import TorchNN

@testable import SwanModels
import SwanSystem

/// A small Wan autoencoder whose normalization changes every channel.
private func smallWan() throws -> WanVAE {
    var config = WanVAEConfig()
    (config.baseDim, config.decoderBaseDim, config.zDim, config.numResBlocks) = (4, 4, 3, 1)
    (config.dimMult, config.temporalDownsample) = ([1, 2, 2], [true, true])
    (config.latentsMean, config.latentsStd) = ([0.1, -0.2, 0.3], [1.5, 0.5, 2])
    return try WanVAE(Weights(MadeWeights.random(seed: 5)), config)
}

@Suite struct VideoAutoencoderTests {
    @Test func wanReturnsNormalizedLatents() throws {
        let wan = try smallWan()
        let vae: any VideoAutoencoder = wan
        #expect(vae.latentChannels == 3 && vae.spatialStride == 4 && vae.temporalStride == 4)
        #expect((1...3).map(vae.videoFrames(ofLatents:)) == [1, 5, 9])
        #expect(TinyVAEConfig.wan22.videoFrames(ofLatents: 4) == 13)
        #expect(vae.lookahead == 0 && vae.dtype == .float32 && vae.device == .cpu)
        let video = try Tensor.randn([2, 3, 9, 12, 20], Generator(seed: 1))
        let latents = try vae.latents(of: video)
        #expect(latents.shape == [2, 3, 3, 3, 5])
        let mean = try wan.encode(video)
        try expectClose(latents, try wan.normalized(mean), relative: 0, absolute: 0)
        try expectClose(
            try vae.video(of: latents),
            try wan.decode(wan.denormalized(latents)),
            relative: 0,
            absolute: 0
        )
    }

    /// Parts processed by a session equal the whole; raw latents are the unnormalized ones.
    @Test(arguments: [[1, 4, 4], [5, 4], [9]])
    func partsOfWanEqualTheWhole(counts: [Int]) throws {
        let wan = try smallWan()
        let vae: any VideoAutoencoder = wan
        let video = try Tensor.randn([1, 3, 9, 8, 12], Generator(seed: 2))
        let (encoder, raw) = (try vae.makeEncoder(), try vae.makeEncoder(normalizing: false))
        let decoder = try vae.makeDecoder()
        var (latents, means, frames): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
        for part in try video.split(counts, dim: 2) {
            latents.append(try encoder.encode(part))
            means.append(try raw.encode(part))
            frames.append(try decoder.decode(latents[latents.count - 1]))
            #expect(frames[frames.count - 1].size(2) == part.size(2))
        }
        let whole = try vae.latents(of: video)
        try expectClose(concatenated(latents, dim: 2), whole, relative: 0, absolute: 0)
        try expectClose(concatenated(means, dim: 2), wan.encode(video), relative: 0, absolute: 0)
        try expectClose(
            concatenated(frames, dim: 2),
            vae.video(of: whole),
            relative: 0,
            absolute: 0
        )
    }

    @Test func sizesAndFrameCounts() throws {
        let vae: any VideoAutoencoder = try smallWan()
        let size = try vae.latentSize(height: 12, width: 20)
        #expect(size == (3, 5))
        #expect(try vae.latentFrames(of: 1) == 1)
        #expect(try vae.latentFrames(of: 81) == 21)
        for (frames, numbers) in [(0, "1, 5 or 9"), (4, "1, 5 or 9"), (82, "1, 5 or 9")] {
            let error = #expect(throws: SwanError.self) { try vae.latentFrames(of: frames) }
            #expect(error?.message.contains(numbers) == true)
        }
        let encoder = try vae.makeEncoder()
        _ = try encoder.encode(.zeros([1, 3, 1, 4, 4]))
        for frames in [0, 1, 5] {
            let error = #expect(throws: SwanError.self) {
                try encoder.encode(.zeros([1, 3, frames, 4, 4]))
            }
            #expect(error?.message.contains("4, 8 or 12") == true)
        }
    }

    @Test func combinesEncoderAndDecoder() throws {
        let golden = try Golden("tiny_vae21")
        let tiny = try TinyVAE(Weights(DictionaryWeights(golden.weights)))
        var config = WanVAEConfig()
        (config.baseDim, config.decoderBaseDim, config.zDim) = (4, 4, 4)
        (config.latentsMean, config.latentsStd) = ([0, 0, 0, 0], [1, 1, 1, 1])
        let wan = try WanVAE(Weights(MadeWeights.random(seed: 5)), config)
        let pair = try AutoencoderPair(encoding: wan, decoding: tiny)
        #expect(pair.lookahead == 0)
        let video = try golden.input("video_5")
        let latents = try pair.latents(of: video)
        try expectClose(latents, try wan.latents(of: video), relative: 0, absolute: 0)
        try expectClose(
            pair.video(of: latents),
            try tiny.video(of: latents),
            relative: 0,
            absolute: 0
        )
        let error = #expect(throws: SwanError.self) {
            try AutoencoderPair(encoding: smallWan(), decoding: tiny)
        }
        #expect(error?.message.contains("[3, 4, 4] and [4, 8, 4]") == true)
    }
}
