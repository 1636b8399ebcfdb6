public import Torch
public import TorchNN
public import SwanSystem

/// Wan's causal video autoencoder, in the 2.1 and the 2.2 version (residual, with patches).
///
/// Wan: Open and Advanced Large-Scale Video Generative Models (https://arxiv.org/abs/2503.20314),
/// section 4.1. Weights under the keys of Wan2.1_VAE.pth and Wan2.2_VAE.pth.
///
/// Videos are [B, C, T, H, W] in [-1, 1]; latents [B, zDim, F, h, w], as output by the encoder
/// unless `normalized`. A video's first latent represents one frame, each later one
/// `temporalStride` frames. Frames only see earlier frames, so that a video can be processed in
/// parts: a state carries what the next part needs, and the results are the same as for the whole
/// video.
public struct WanVAE: Sendable {
    /// The configuration.
    public let config: WanVAEConfig
    private let encoder: WanVAEEncoder
    private let decoder: WanVAEDecoder
    private let conv1, conv2: CausalConv3d
    private let mean, std: Tensor
    /// The dtype of results.
    public let dtype: DType
    /// The dtype of weights and computation: `DType.productType`.
    private let computeType: DType
    /// The device of the weights.
    public let device: Device
    /// Training processes all frames at once; a stream needs small passes.
    private let isTrainable: Bool
    private let recomputes: Bool

    /// Loads the network under a path.
    ///
    /// - Parameter recomputing: Whether the layers are recomputed in the backward pass, so that few
    ///   activations are kept.
    public init(
        _ weights: Weights,
        _ config: WanVAEConfig,
        recomputing: Bool = false
    ) throws(SwanError) {
        try config.validate()
        self.config = config
        recomputes = recomputing
        dtype = weights.dtype
        device = weights.device
        computeType = dtype.productType(on: device)
        let weights = weights.converted(to: computeType)
        encoder = try WanVAEEncoder(weights["encoder"], config)
        decoder = try WanVAEDecoder(weights["decoder"], config)
        conv1 = try CausalConv3d(
            weights["conv1"],
            2 * config.zDim,
            2 * config.zDim,
            frames: 1,
            size: 1
        )
        conv2 = try CausalConv3d(weights["conv2"], config.zDim, config.zDim, frames: 1, size: 1)
        mean = try Tensor(config.latentsMean, [config.zDim, 1, 1, 1]).to(device, dtype)
        std = try Tensor(config.latentsStd, [config.zDim, 1, 1, 1]).to(device, dtype)
        isTrainable = try weights["conv2"].tensor("bias", [config.zDim]).requiresGrad
    }
}

// MARK: - Whole videos

extension WanVAE {
    /// Encodes a video to the mean of its latents: [B, C, 1 + s n, H, W] -> [B, zDim, 1 + n, h, w].
    public func encode(_ video: Tensor) throws(SwanError) -> Tensor {
        try moments(video).mean
    }

    /// The mean and the logarithm of the variance of a video's latents.
    public func moments(
        _ video: Tensor
    ) throws(SwanError) -> (mean: Tensor, logVariance: Tensor) {
        var state = EncoderState(streams: !isTrainable, recomputes: recomputes)
        return try moments(video, &state)
    }

    /// Decodes latents to a video: [B, zDim, 1 + n, h, w] -> [B, C, 1 + s n, H, W].
    ///
    /// - Parameter clamped: Whether values are clamped to [-1, 1].
    public func decode(_ latents: Tensor, clamped: Bool = true) throws(SwanError) -> Tensor {
        var state = DecoderState(streams: !isTrainable, recomputes: recomputes)
        return try decode(latents, state: &state, clamped: clamped)
    }

    /// Normalizes latents to mean 0 and standard deviation 1 over Wan's training videos.
    public func normalized(_ latents: Tensor) throws(SwanError) -> Tensor {
        try (latents - mean) / std
    }

    /// The inverse of `normalized`.
    public func denormalized(_ latents: Tensor) throws(SwanError) -> Tensor {
        try latents * std + mean
    }
}

// MARK: - Streams

extension WanVAE {
    /// The state for encoding the next frames of a video, of fixed size.
    ///
    /// A state first used under `inference` must continue to be used there.
    public struct EncoderState: ~Copyable {
        fileprivate var caches: FeatureCaches
        fileprivate var size: [Int] = []

        /// Creates the state before a video's first frame.
        public init() { self.init(streams: true, recomputes: false) }

        /// Creates the state of a range of a video's rows before its first frame.
        package init(rows: any PictureRows) {
            caches = FeatureCaches(streams: true, rows: rows)
        }

        fileprivate init(streams: Bool, recomputes: Bool) {
            caches = FeatureCaches(streams: streams, recomputes: recomputes)
        }
    }

    /// The state for decoding the next latents of a video, of fixed size.
    ///
    /// A state first used under `inference` must continue to be used there.
    public struct DecoderState: ~Copyable {
        fileprivate var caches: FeatureCaches
        fileprivate var size: [Int] = []

        /// Creates the state before a video's first latent.
        public init() { self.init(streams: true, recomputes: false) }

        /// Creates the state of a range of a video's rows before its first latent.
        package init(rows: any PictureRows) {
            caches = FeatureCaches(streams: true, rows: rows)
        }

        fileprivate init(streams: Bool, recomputes: Bool) {
            caches = FeatureCaches(streams: streams, recomputes: recomputes)
        }
    }

    /// Encodes a video's next frames to the mean of their latents: first 1 + s n frames, then s n.
    public func encode(
        _ frames: Tensor,
        state: inout EncoderState
    ) throws(SwanError) -> Tensor {
        try moments(frames, &state).mean
    }

    /// Decodes a video's next latents: first to 1 + s n frames, then to s for each latent.
    public func decode(
        _ latents: Tensor,
        state: inout DecoderState,
        clamped: Bool = true
    ) throws(SwanError) -> Tensor {
        try check(latents: latents, after: state.size)
        let x = try latents.to(device, computeType).permuted(0, 2, 3, 4, 1).contiguous()
        state.size = x.shape(without: 1)
        var parts: [Tensor] = []
        for range in passes(x.size(1), 1, isStart: state.caches.isStart) {
            state.caches.beginPass()
            let part = try x.narrowed(1, range.lowerBound, range.count)
            parts.append(try decoder(conv2(part), &state.caches))
            state.caches.endPass()
        }
        let y = try joined(parts).outOfPatches(config.patchSize).permuted(0, 4, 1, 2, 3).to(dtype)
        return clamped ? try y.clamped(min: -1, max: 1) : y
    }

    private func moments(
        _ frames: Tensor,
        _ state: inout EncoderState
    ) throws(SwanError) -> (mean: Tensor, logVariance: Tensor) {
        try check(frames: frames, after: state.size, isStart: state.caches.isStart)
        let x = try frames.to(device, computeType).inPatches(config.patchSize)
        state.size = x.shape(without: 1)
        var parts: [Tensor] = []
        for range in passes(x.size(1), config.temporalStride, isStart: state.caches.isStart) {
            state.caches.beginPass()
            let part = try x.narrowed(1, range.lowerBound, range.count)
            parts.append(try conv1(encoder(part, &state.caches)))
            state.caches.endPass()
        }
        let halves = try joined(parts).permuted(0, 4, 1, 2, 3).to(dtype).chunked(2, dim: 1)
        return (try halves[0].contiguous(), try halves[1].contiguous())
    }

    /// The passes through the network. Each covers the frames of one latent, so that memory stays
    /// small and the bytes do not depend on how a video is split; in training, all frames.
    private func passes(_ count: Int, _ step: Int, isStart: Bool) -> [Range<Int>] {
        guard !isTrainable else { return [0..<count] }
        var passes = isStart ? [0..<1] : []
        for start in stride(from: passes.count, to: count, by: step) {
            passes.append(start..<(start + step))
        }
        return passes
    }

    private func joined(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        parts.count == 1 ? parts[0] : try concatenated(parts, dim: 1)
    }
}

// MARK: - Sizes

extension WanVAE {
    private func check(frames: Tensor, after size: [Int], isStart: Bool) throws(SwanError) {
        let shape = frames.shape
        let channels = config.inChannels / (config.patchSize * config.patchSize)
        guard shape.count == 5, shape[0] > 0, shape[1] == channels else {
            throw SwanError(
                .invalidArgument,
                "a video must be [B, \(channels), T, H, W], not \(shape)"
            )
        }
        _ = try latentSize(height: shape[3], width: shape[4])
        try requireFrames(shape[2], after: isStart ? 1 : 0)
        let patch = config.patchSize
        let next = [shape[0], shape[3] / patch, shape[4] / patch, config.inChannels]
        try requireSame(next, as: size)
    }

    private func check(latents: Tensor, after size: [Int]) throws(SwanError) {
        let shape = latents.shape
        guard shape.count == 5, shape.allSatisfy({ $0 > 0 }), shape[1] == config.zDim else {
            throw SwanError(
                .invalidArgument,
                "latents must be [B, \(config.zDim), F, h, w], not \(shape)"
            )
        }
        try requireSame([shape[0], shape[3], shape[4], shape[1]], as: size)
    }
}
