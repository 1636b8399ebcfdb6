import GoldenSupport
import SwanCheckpoints
import Testing
import Torch
import TorchNN

@testable import SwanModels
import SwanSystem

/// An autoencoder whose latents depend only on their own pixels: means of 4x4 pixels of every frame.
private struct Mosaic: VideoAutoencoder {
    let latentChannels = 3
    let spatialStride = 4
    let temporalStride = 1
    let dtype = DType.float32
    let device = Device.cpu

    func latents(of video: Tensor) throws(SwanError) -> Tensor {
        let (h, w) = (video.size(3) / 4, video.size(4) / 4)
        return try video.reshaped(video.size(0), 3, video.size(2), h, 4, w, 4).mean([4, 6])
    }

    func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try latents.repeatedInterleaved(4, dim: 3).repeatedInterleaved(4, dim: 4)
    }

    func makeEncoder(normalizing: Bool) -> any VideoEncoder { Session(vae: self) }
    func makeDecoder() -> any VideoDecoder { Session(vae: self) }

    private struct Session: VideoEncoder, VideoDecoder {
        let vae: Mosaic
        func encode(_ frames: Tensor) throws(SwanError) -> Tensor { try vae.latents(of: frames) }
        func decode(_ latents: Tensor) throws(SwanError) -> Tensor { try vae.video(of: latents) }
    }
}

@Suite struct TiledAutoencoderTests {
    @Test(arguments: ["40x64", "24x40"])
    func matchesTheReference(size: String) throws {
        let golden = try Golden("wan_vae21_tiled")
        let source = DictionaryWeights(try golden.weights(named: "weights_diffusers"))
        let wan = try WanVAE(Weights(source.inWanNames()), golden.config())
        let vae = try TiledAutoencoder(wan, tile: 32, stride: 24)
        let video = try golden.input("video_\(size)")
        try expectClose(
            vae.latents(of: video),
            wan.normalized(golden.output("mean_\(size)")),
            relative: 1e-5,
            absolute: 5e-5
        )
        let latents = try wan.normalized(golden.input("latents_\(size)"))
        try expectClose(
            vae.video(of: latents),
            golden.output("decoded_\(size)"),
            relative: 1e-5,
            absolute: 5e-5
        )
        // Tiling has an effect: the untiled result differs.
        let difference = try (vae.video(of: latents) - wan.video(of: latents)).abs().max().item()
        #expect(difference > 1e-3)
    }

    /// If the network does not look beyond a tile, tiling does not change the result.
    @Test(arguments: [(4, 4), (8, 52), (36, 20), (44, 60), (28, 32), (68, 12)])
    func tilesAreInvisible(height: Int, width: Int) throws {
        let video = try Tensor.rand([2, 3, 2, height, width], Generator(seed: 1)) * 2 - 1
        for (tile, stride) in [(16, 12), (16, 8), (12, 12), (20, 8)] {
            let vae = try TiledAutoencoder(Mosaic(), tile: tile, stride: stride)
            let latents = try vae.latents(of: video)
            try expectClose(latents, Mosaic().latents(of: video))
            try expectClose(vae.video(of: latents), Mosaic().video(of: latents))
        }
    }

    /// Overlapping tiles are blended linearly; here each tile has a different level.
    @Test func blendsTilesLinearly() throws {
        struct Levels: VideoAutoencoder {
            let latentChannels = 3
            let spatialStride = 4
            let temporalStride = 1
            let dtype = DType.float32
            let device = Device.cpu
            func latents(of video: Tensor) throws(SwanError) -> Tensor { video }
            /// Every pixel has the value of the tile's first latent.
            func video(of latents: Tensor) throws(SwanError) -> Tensor {
                try latents.narrowed(3, 0, 1).narrowed(4, 0, 1)
                    .expanded([1, 3, 1, latents.size(3) * 4, latents.size(4) * 4]).cloned()
            }
            func makeEncoder(normalizing: Bool) -> any VideoEncoder {
                Mosaic().makeEncoder(normalizing: normalizing)
            }
            func makeDecoder() -> any VideoDecoder { Mosaic().makeDecoder() }
        }
        let vae = try TiledAutoencoder(Levels(), tile: 16, stride: 12)
        let column = try Tensor([0, 0, 0, 4, 4, 4, 4], [1, 1, 1, 1, 7]).to(.float32)
        let picture = try vae.video(of: column.expanded([1, 3, 1, 3, 7]))
        let row = try picture.selected(0, 0).selected(0, 0).selected(0, 0).selected(0, 0)
        let expected: [Double] =
            Array(repeating: 0, count: 13) + [1, 2, 3]
            + Array(repeating: 4, count: 12)
        #expect(try row.array(of: Double.self) == expected)
    }

    /// Streaming gives the same bytes as processing the whole video.
    @Test func partsEqualTheWhole() throws {
        let golden = try Golden("tiny_vae21")
        let base = try TinyVAE(Weights(DictionaryWeights(golden.weights)))
        let vae = try TiledAutoencoder(base, tile: 16, stride: 8)
        #expect(vae.lookahead == 3 && vae.latentChannels == 4)
        let video = try golden.input("video_5")
        let last = try video.narrowed(2, 4, 1)
        let padded = try concatenated([video, last, last, last], dim: 2)
        let encoder = try vae.makeEncoder()
        let latents = try padded.split([4, 4], dim: 2).map { try encoder.encode($0) }
        let whole = try vae.latents(of: video)
        try expectClose(concatenated(latents, dim: 2), whole, relative: 0, absolute: 0)
        let decoder = vae.makeDecoder()
        let frames = try latents.map { try decoder.decode($0) }
        try expectClose(
            concatenated(frames, dim: 2),
            vae.video(of: whole),
            relative: 0,
            absolute: 0
        )
        let error = #expect(throws: SwanError.self) {
            try decoder.decode(.zeros([1, 4, 1, 3, 3]))
        }
        #expect(error?.message.contains("cannot change") == true)
    }

    @Test func namesInvalidSizes() throws {
        for (tile, stride) in [(16, 20), (16, 0), (18, 12), (16, 6)] {
            let error = #expect(throws: SwanError.self) {
                try TiledAutoencoder(Mosaic(), tile: tile, stride: stride)
            }
            #expect(error?.message.contains("multiples of 4") == true)
        }
        let vae = try TiledAutoencoder(Mosaic(), tile: 16, stride: 12)
        #expect(throws: SwanError.self) { try vae.latents(of: .zeros([1, 3, 1, 18, 16])) }
        #expect(throws: SwanError.self) { try vae.video(of: .zeros([3, 1, 18, 16])) }
    }
}
