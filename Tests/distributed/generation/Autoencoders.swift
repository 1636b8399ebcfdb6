import RankSupport
import SwanDistributed
import SwanModels
import SwanSystem
import Torch
import TorchNN

extension Probe {
    /// Every autoencoder with the rows of its pictures divided, against one rank.
    func checkAutoencoders() throws {
        let groups = RankGroups(world)
        // In float64 rounding is too small to hide anything. In float32 Winograd's filtering and
        // these networks enlarge it.
        for (dtype, limit) in [(DType.float64, 1e-11), (.float32, 5e-5)] {
            for (name, vae, heights) in try autoencoders(dtype) {
                let divided = DividedAutoencoder(vae, groups)
                for height in heights {
                    let what = "\(name) in \(dtype), \(height) rows"
                    try check(divided, against: vae, height, within: limit, what)
                }
            }
        }
        try checkTiles()
        try checkTraffic()
    }

    private static var small: WanVAEConfig {
        var config = WanVAEConfig.wan21
        (config.baseDim, config.decoderBaseDim, config.numResBlocks) = (4, 4, 1)
        return config
    }

    /// Random weights for pixels that are not cut off at white and black.
    private static func weights(_ dtype: DType) throws -> Weights {
        let random = try MadeWeights.random(seed: 5)
        return Weights(
            MadeWeights { key, shape throws(SwanError) in
                let weight = try random.tensor(key, shape)
                return key == "decoder.head.2.weight" ? try weight * 0.1 : weight
            },
            dtype: dtype
        )
    }

    /// The autoencoders, and heights of pictures in latents.
    private func autoencoders(
        _ dtype: DType
    ) throws -> [(String, any RowwiseAutoencoder, [Int])] {
        var attending = Self.small
        attending.attnScales = [0.5, 0.125]
        var subpixel = Self.small
        subpixel.subpixelUpsample = true
        var residual = WanVAEConfig.wan22
        (residual.baseDim, residual.decoderBaseDim, residual.numResBlocks) = (4, 4, 1)
        var tiny = TinyVAEConfig.wan21
        (tiny.encoderDim, tiny.decoderDims) = (8, [8, 8, 8, 8])
        var large = tiny
        large.isSuper = true
        func checked(_ config: WanVAEConfig) throws -> WanVAE {
            try WanVAE(Self.weights(dtype), config)
        }
        // Rounding in float32 is that of the same kernels, so one network is enough.
        guard dtype == .float64 else { return [("2.1", try checked(Self.small), [1, 7])] }
        return [
            ("2.1", try checked(Self.small), [3]), ("attention", try checked(attending), [3]),
            ("subpixel", try checked(subpixel), [4]), ("2.2", try checked(residual), [3]),
            ("tiny", try TinyVAE(Self.weights(dtype), tiny), [5]),
            ("tiny, large", try TinyVAE(Self.weights(dtype), large), [5]),
        ]
    }

    /// Whole videos, and videos in parts.
    private func check(
        _ divided: DividedAutoencoder,
        against vae: any VideoAutoencoder,
        _ height: Int,
        within limit: Double,
        _ what: String
    ) throws {
        let random = try Generator(seed: 3)
        let (stride, step) = (vae.spatialStride, vae.temporalStride)
        let video = try Tensor.randn(
            [1, 3, 1 + 2 * step, height * stride, 2 * stride],
            random
        ).clamped(min: -1, max: 1).to(vae.dtype)
        let latents = try vae.latents(of: video)
        try check(divided.latents(of: video), latents, within: limit, "\(what): encoded")
        let decoded = try vae.video(of: latents)
        try check(divided.video(of: latents), decoded, within: limit, "\(what): decoded")
        let decoder = try divided.makeDecoder()
        let parts = try [(0, 1), (1, 2)].map { try decoder.decode(latents.narrowed(2, $0, $1)) }
        try check(concatenated(parts, dim: 2), decoded, within: limit, "\(what): in parts")
        guard vae.lookahead == 0 else { return }
        let encoder = try divided.makeEncoder(normalizing: true)
        let encoded = try [(0, 1), (1, step), (1 + step, step)].map {
            try encoder.encode(video.narrowed(2, $0, $1))
        }
        try check(concatenated(encoded, dim: 2), latents, within: limit, "\(what): encoded parts")
    }

    /// Tiles are computed on several ranks, to the same bits.
    private func checkTiles() throws {
        let base = try WanVAE(Self.weights(.float32), Self.small)
        let alone = try TiledAutoencoder(base, tile: 32, stride: 16)
        var shared = alone
        shared.sharing = SharedTiles(world.group, shapes: world.group)
        let random = try Generator(seed: 4)
        for size in [(3, 5), (2, 2)] {
            let latents = try Tensor.randn([1, 16, 2, size.0, size.1], random)
            let video = try alone.video(of: latents)
            try check(shared.video(of: latents), video, within: 0, "tiles of \(size)")
            try check(shared.latents(of: video), alone.latents(of: video), within: 0, "encoded")
            let (a, b) = (alone.makeDecoder(), shared.makeDecoder())
            for frame in 0..<2 {
                let part = try latents.narrowed(2, frame, 1)
                try check(b.decode(part), a.decode(part), within: 0, "tiles of frame \(frame)")
            }
        }
    }

    /// A convolution exchanges rows once; nothing but rows, attention's keys and the result is
    /// sent.
    private func checkTraffic() throws {
        guard world.size == 2, let group = try RankGroups(world).group(of: 2) else { return }
        let vae = try WanVAE(Self.weights(.float32), Self.small)
        let rows = NeighbourRows(group, count: 2)
        let decoder = vae.makeDecoder(rows: rows)
        let latents = try Tensor.randn([1, 16, 1, 1, 2], Generator(seed: 4))
        group.traffic.reset()
        _ = try decoder.decode(latents)
        // conv1 and head; 2 in each of the middle's 2 and 4 levels' 2 residual blocks; 3 upsamples.
        let exchanges = group.traffic[.exchange]
        try check(exchanges.calls == 2 + 2 * (2 + 4 * 2) + 3, "\(exchanges.calls) exchanges")
        try check(group.traffic[.gather].calls == 1, "attention gathers once")
        // Channels times width of each layer's input, by level; the middle is in the first.
        let inputs = [(16 * 2) * 10, 8 * 4 + (16 * 4) * 4, (8 * 8) * 5, (4 * 16) * 5]
        // Rank 1 begins within a tile of 4 rows, or needs the whole tile above.
        let seen = world.rank == 0 ? [1, 2, 4, 4] : [1, 2, 1, 1]
        let numbers = zip(inputs, seen).map { $0 * $1 }.reduce(0, +)
        try check(exchanges.bytes == 4 * numbers, "\(exchanges.bytes) bytes, not \(4 * numbers)")
    }
}
