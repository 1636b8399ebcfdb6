public import SwanModels
public import SwanTraining
public import Torch
import TorchNN
import SwanSystem

/// First weights of an autoencoder with which it is, nearly, the best linear code of its clips.
///
/// Level by level, 2x2 pixels and pairs of frames go into their principal components, and the decoder
/// holds the inverse; residual branches begin at zero. Training starts where a linear code ends: ten
/// minutes from random weights do not reach it.
public enum LinearCode {
    /// Weights under the keys of Wan2.1_VAE.pth, for an autoencoder of that kind.
    ///
    /// - Parameters:
    ///   - steps: steps in which the levels are fitted to one another.
    ///   - threads: clips of a step that are worked on at a time.
    ///   - device: where they are fitted.
    ///
    /// Throws `SwanError` for the residual kind of Wan 2.2, whose levels have other shapes.
    public static func weights(
        _ config: WanVAEConfig,
        clips: any ClipSource,
        seed: UInt64,
        steps: Int = 0,
        threads: Int = 1,
        on device: Device = .cpu,
        onProgress: (TrainingProgress) -> Void = { _ in }
    ) throws -> [String: Tensor] {
        guard !config.isResidual, config.inChannels == config.outChannels else {
            throw SwanError(
                .invalidRecipe,
                "vae.model: only an autoencoder of Wan 2.1's kind (is_residual: false, as many "
                    + "channels in as out) starts from a linear code"
            )
        }
        let measured = try withoutGradients {
            let frames = config.temporalStride
            return try (0..<160).map { try patches(config, clips, $0, frames: frames) }
        }
        var writer = try LinearCodeWriter(config, randomWeights(config, seed: seed))
        var chain = try withoutGradients { () throws(SwanError) -> LinearChain in
            // [N, T, C, H, W] -> [N, T, H, W, C]
            try writer.write(stacked(measured).permuted(0, 1, 3, 4, 2).contiguous())
        }
        let frames = 2 * config.temporalStride + 1
        try chain.fit(
            steps: steps,
            threads: threads,
            on: device,
            clips: { index in
                try withoutGradients { try patches(config, clips, 160 + index, frames: frames) }
            },
            onProgress: onProgress
        )
        return try withoutGradients {
            let samples = try (0..<16).map { try patches(config, clips, $0, frames: frames) }
            // One clip after the other would put pairs over their borders.
            try writer.write(chain, measuredOn: samples)
            return writer.weights
        }
    }

    /// Patches [T, C p p, H, W] of a clip in [-1, 1], in the order channel, column, row.
    private static func patches(
        _ config: WanVAEConfig,
        _ clips: any ClipSource,
        _ index: Int,
        frames: Int
    ) throws -> Tensor {
        let size = max(128, config.spatialStride)
        // Far from the numbers that training begins with.
        let clip = try clips.clip(
            index: (1 << 48) + UInt64(index),
            frames: frames,
            height: size,
            width: size
        )
        let patch = config.patchSize
        let side = size / patch
        let split = try clip.reshaped(frames, 3, side, patch, side, patch)
        return try split.permuted(0, 1, 5, 3, 2, 4).reshaped(frames, -1, side, side) * 2 - 1
    }

    /// Convolutions that keep the size of what they read; residual branches end in zeros.
    private static func randomWeights(
        _ config: WanVAEConfig,
        seed: UInt64
    ) throws(SwanError) -> [String: Tensor] {
        let generator = try Generator(seed: seed)
        let source = MadeWeights { key, shape throws(SwanError) in
            if key.hasSuffix("gamma") { return try .ones(shape) }
            let endsBranch = key.hasSuffix("residual.6.weight") || key.hasSuffix("proj.weight")
            if key.hasSuffix("bias") || endsBranch { return try .zeros(shape) }
            let fanIn = shape.dropFirst().reduce(1, *)
            return try Tensor.randn(shape, generator) * (1 / Double(fanIn).squareRoot())
        }
        // Only to hear which weights there are.
        _ = try WanVAE(Weights(source), config)
        return source.tensors
    }
}
