package import SwanModels
package import SwanTraining
package import Torch
import TorchNN
import SwanSystem

/// Initializes an autoencoder so that it is nearly the best linear code of its clips.
///
/// Level by level, 2x2 pixels and pairs of frames are mapped to their principal components, and the
/// decoder holds the inverse; residual branches start at zero. Training then starts from the
/// quality of a linear code, which ten minutes of training from random weights do not reach.
package enum LinearCode {
    /// Returns initial weights for a Wan 2.1 style autoencoder, under the keys of Wan2.1_VAE.pth.
    ///
    /// - Parameters:
    ///   - steps: The number of steps that fit the levels to one another.
    ///   - threads: The number of clips to process concurrently in a step.
    ///   - device: The device to fit them on.
    ///
    /// Throws `SwanError` for Wan 2.2's residual autoencoder, whose levels have other shapes.
    package static func weights(
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
                "vae.model: must be a Wan 2.1 style autoencoder (is_residual: false, as many input "
                    + "as output channels) to start from a linear code"
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
            // Concatenated clips would form frame pairs across their borders.
            try writer.write(chain, measuredOn: samples)
            return writer.weights
        }
    }

    /// Returns the patches [T, C p p, H, W] of a clip in [-1, 1], in the order channel, column,
    /// row.
    private static func patches(
        _ config: WanVAEConfig,
        _ clips: any ClipSource,
        _ index: Int,
        frames: Int
    ) throws -> Tensor {
        let size = max(128, config.spatialStride)
        // Far from the indices that training starts with.
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

    /// Returns random weights that preserve the scale of their inputs, with zeros at the end of
    /// residual branches.
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
        // Build the network once to find out which weights it has.
        _ = try WanVAE(Weights(source), config)
        return source.tensors
    }
}
