import Synchronization
public import Torch
public import TorchNN
public import SwanSystem

/// A tiny autoencoder for the latents of Wan 2.1 and 2.2, for previews and live streams.
///
/// It takes less than a tenth of the time of Wan's own. TAEHV
/// (https://github.com/madebyollin/taehv); weights under the keys of taew2_1.pth, taew2_2.pth and
/// taew2_2_super.pth. Its latents are those that diffusion models see; they are never normalized.
///
/// The decoder computes a latent's frames from it and earlier ones. The encoder was trained to look
/// three frames ahead: a latent is computed from its last frame, the three after it, and earlier
/// ones.
public struct TinyVAE: VideoAutoencoder {
    /// The configuration.
    public let config: TinyVAEConfig
    /// The dtype of results.
    public let dtype: DType
    /// The dtype of weights and computation: `DType.productType`.
    private let computeType: DType
    /// The device of the weights.
    public let device: Device
    private let encoder, decoder: [any WanVAELayer]

    /// Loads the network under a path; its configuration is derived from the weights.
    public init(_ weights: Weights) throws(SwanError) {
        try self.init(weights, TinyVAEConfig(of: weights))
    }

    /// Loads the network under a path.
    public init(_ weights: Weights, _ config: TinyVAEConfig) throws(SwanError) {
        try config.validate()
        self.config = config
        dtype = weights.dtype
        device = weights.device
        computeType = dtype.productType(on: device)
        let weights = weights.converted(to: computeType)
        encoder = try Self.encoder(weights["encoder"], config)
        decoder = try Self.decoder(weights["decoder"], config)
    }

    /// The number of channels of a latent.
    public var latentChannels: Int { config.latentChannels }
    /// The width and height of a latent in pixels.
    public var spatialStride: Int { config.spatialStride }
    /// The number of frames of every latent after the first.
    public var temporalStride: Int { config.temporalStride }
    /// The number of frames after a latent's own that the encoder needs before it returns the
    /// latent.
    public var lookahead: Int { temporalStride - 1 }
}

// MARK: - Layers

extension TinyVAE {
    private static func encoder(
        _ weights: Weights,
        _ config: TinyVAEConfig
    ) throws(SwanError) -> [any WanVAELayer] {
        let (dim, patch) = (config.encoderDim, config.patchSize)
        let first = try weights[0].tensor("weight", [dim, 3 * patch * patch, 3, 3])
        var layers: [any WanVAELayer] = [
            try TinyVAEConv(
                first.inPatchOrder(dim: 1, patch),
                weights[0].tensor("bias", [dim]),
                rectifies: true
            )
        ]
        for (level, time) in config.encoderTime.enumerated() {
            let pool = 2 + 5 * level
            layers.append(
                try TinyVAEDownsample(pool: weights[pool], conv: weights[pool + 1], dim, time: time)
            )
            for block in 2...4 {
                layers.append(try TinyVAEMemoryBlock(weights[pool + block], dim))
            }
        }
        return layers + [try TinyVAEConv(weights[17], dim, config.latentChannels)]
    }

    private static func decoder(
        _ weights: Weights,
        _ config: TinyVAEConfig
    ) throws(SwanError) -> [any WanVAELayer] {
        let (dims, patch, isSuper) = (config.decoderDims, config.patchSize, config.isSuper)
        let names = TinyVAENames(isSuper: isSuper)
        var layers: [any WanVAELayer] = [
            try TinyVAEConv(
                weights[names.start],
                config.latentChannels,
                dims[0],
                size: isSuper ? 1 : 3,
                hasBias: !isSuper,
                rectifies: !isSuper
            )
        ]
        for (level, name) in names.levels.enumerated() {
            for block in name.blocks {
                layers.append(
                    isSuper
                        ? try TinyVAEWideBlock(weights[block], dims[level])
                        : try TinyVAEMemoryBlock(weights[block], dims[level])
                )
            }
            let (grow, conv) = (weights[name.grow], weights[name.conv])
            let (inputs, outputs) = (dims[level], dims[level + 1])
            let (time, known) = (config.usedDecoderTime[level], config.decoderTime[level])
            layers.append(
                isSuper
                    ? try TinyVAEWideUpsample(
                        grow: grow,
                        conv: conv,
                        inputs,
                        outputs,
                        time: time,
                        known: known
                    )
                    : try TinyVAEUpsample(
                        grow: grow,
                        conv: conv,
                        inputs,
                        outputs,
                        time: time,
                        known: known
                    )
            )
        }
        if !isSuper { layers.append(TinyVAERectifier()) }
        let end = weights[names.end]
        let pixels = 3 * patch * patch
        let last = try TinyVAEConv(
            end.tensor("weight", [pixels, dims[3], 3, 3]).inPatchOrder(dim: 0, patch),
            end.tensor("bias", [pixels]).inPatchOrder(dim: 0, patch)
        )
        return layers + [last]
    }
}

// MARK: - Videos

extension TinyVAE {
    /// Encodes a whole video; the last frame is repeated where the encoder looks ahead.
    public func latents(of video: Tensor) throws(SwanError) -> Tensor {
        try check(video)
        try requireFrames(video.size(2), after: 1)
        let last = try video.narrowed(2, video.size(2) - 1, 1)
        let padding = Array(repeating: last, count: lookahead)
        return try makeEncoder(normalizing: true)
            .encode(concatenated([video] + padding, dim: 2))
    }

    /// Decodes latents to a whole video.
    public func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try makeDecoder().decode(latents)
    }

    /// Creates an encoder at the beginning of a video.
    ///
    /// Throws if unnormalized latents are requested and the latents are not those of Wan 2.1 or
    /// 2.2, whose mean and standard deviation are known.
    public func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder {
        try encoder(normalizing: normalizing, rows: nil)
    }

    private func encoder(
        normalizing: Bool,
        rows: (any PictureRows)?
    ) throws(SwanError) -> any VideoEncoder {
        guard !normalizing else { return Encoder(vae: self, statistics: nil, rows: rows) }
        let known = [WanVAEConfig.wan21, .wan22].first { $0.zDim == latentChannels }
        guard let known else {
            throw SwanError(
                .invalidArgument,
                "a tiny autoencoder of \(latentChannels) channels has normalized latents only: the "
                    + "statistics are known for 16 channels (Wan 2.1) and 48 (Wan 2.2)"
            )
        }
        func column(_ values: [Double]) throws(SwanError) -> Tensor {
            try Tensor(values, [latentChannels, 1, 1, 1]).to(device, dtype)
        }
        return try Encoder(
            vae: self,
            statistics: (column(known.latentsMean), column(known.latentsStd)),
            rows: rows
        )
    }

    /// Creates a decoder at the beginning of a video.
    public func makeDecoder() -> any VideoDecoder { Decoder(vae: self, rows: nil) }

    private func check(_ video: Tensor) throws(SwanError) {
        let shape = video.shape
        guard shape.count == 5, shape[0] > 0, shape[1] == 3 else {
            throw SwanError(.invalidArgument, "a video must be [B, 3, T, H, W], not \(shape)")
        }
        _ = try latentSize(height: shape[3], width: shape[4])
    }

    /// The state kept between parts of a video.
    private struct State: ~Copyable {
        var caches: FeatureCaches
        var size: [Int] = []

        init(rows: (any PictureRows)?) { caches = FeatureCaches(streams: true, rows: rows) }
    }

    private final class Encoder: VideoEncoder {
        private let vae: TinyVAE
        private let statistics: (mean: Tensor, std: Tensor)?
        private let state: Mutex<State>

        init(
            vae: TinyVAE,
            statistics: (mean: Tensor, std: Tensor)?,
            rows: (any PictureRows)?
        ) {
            self.vae = vae
            self.statistics = statistics
            state = Mutex(State(rows: rows))
        }

        func encode(_ frames: Tensor) throws(SwanError) -> Tensor {
            let latents = try state.withLock { state throws(SwanError) in
                try vae.encode(frames, &state)
            }
            guard let statistics else { return latents }
            return try latents * statistics.std + statistics.mean
        }
    }

    private final class Decoder: VideoDecoder {
        private let vae: TinyVAE
        private let state: Mutex<State>

        init(vae: TinyVAE, rows: (any PictureRows)?) {
            self.vae = vae
            state = Mutex(State(rows: rows))
        }

        func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
            try state.withLock { state throws(SwanError) in try vae.decode(latents, &state) }
        }
    }

    /// The frames of one latent are processed at a time, so that memory stays small and the bytes
    /// do not depend on how a video is split.
    private func encode(_ frames: Tensor, _ state: inout State) throws(SwanError) -> Tensor {
        try check(frames)
        let step = temporalStride
        try requireFrames(frames.size(2), after: state.caches.isStart ? step : 0)
        let size = [frames.size(0), frames.size(3), frames.size(4), frames.size(1)]
        try requireSame(size, as: state.size)
        state.size = size
        var parts: [Tensor] = []
        for start in stride(from: 0, to: frames.size(2), by: step) {
            // The network expects levels in [0, 1].
            let levels = try (frames.narrowed(2, start, step).to(device, computeType) + 1) * 0.5
            parts.append(
                try run(encoder, levels.inPatches(config.patchSize), &state)
            )
        }
        return try concatenated(parts, dim: 1).permuted(0, 4, 1, 2, 3).contiguous().to(dtype)
    }

    private func decode(_ latents: Tensor, _ state: inout State) throws(SwanError) -> Tensor {
        let shape = latents.shape
        guard shape.count == 5, shape.allSatisfy({ $0 > 0 }), shape[1] == latentChannels else {
            throw SwanError(
                .invalidArgument,
                "latents must be [B, \(latentChannels), F, h, w], not \(shape)"
            )
        }
        try requireSame([shape[0], shape[3], shape[4], shape[1]], as: state.size)
        state.size = [shape[0], shape[3], shape[4], shape[1]]
        let x = try latents.to(device, computeType).permuted(0, 2, 3, 4, 1).contiguous()
        var parts: [Tensor] = []
        for frame in 0..<shape[2] {
            let isFirst = state.caches.isStart
            let latent = try x.narrowed(1, frame, 1)
            // The larger decoder uses latents unchanged.
            let bounded = config.isSuper ? latent : try (latent / 3).tanh() * 3
            let frames = try run(decoder, bounded, &state)
            // A video's first latent represents one frame: the last of those decoded from it.
            let kept = isFirst ? try frames.sliced(1, from: temporalStride - 1) : frames
            parts.append(try kept.outOfPatches(config.patchSize))
        }
        let levels = try concatenated(parts, dim: 1).permuted(0, 4, 1, 2, 3).to(dtype)
        return try levels.clamped(min: 0, max: 1) * 2 - 1
    }

    private func run(
        _ layers: [any WanVAELayer],
        _ x: Tensor,
        _ state: inout State
    ) throws(SwanError) -> Tensor {
        state.caches.beginPass()
        var y = x
        for layer in layers { y = try layer(y, &state.caches) }
        state.caches.endPass()
        return y
    }
}

extension TinyVAE: RowwiseAutoencoder {
    /// Creates an encoder of some rows at the beginning of a video; see `makeEncoder`.
    package func makeEncoder(
        normalizing: Bool,
        rows: any PictureRows
    ) throws(SwanError) -> any VideoEncoder {
        try encoder(normalizing: normalizing, rows: rows)
    }

    /// Creates a decoder of some rows at the beginning of a video.
    package func makeDecoder(rows: any PictureRows) -> any VideoDecoder {
        Decoder(vae: self, rows: rows)
    }
}
