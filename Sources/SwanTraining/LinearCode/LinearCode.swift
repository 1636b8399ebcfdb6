import SwanModels
import Torch
import TorchNN

/// First weights of an autoencoder with which it is, nearly, the best linear code of its clips.
///
/// Level by level, 2x2 pixels and pairs of frames go into their principal components, and the decoder
/// holds the inverse; residual branches begin at zero. Training starts where a linear code ends: ten
/// minutes from random weights do not reach it.
public enum LinearCode {
    /// Weights under the keys of Wan2.1_VAE.pth, for an autoencoder of that kind.
    ///
    /// Throws `TrainingError` for the residual kind of Wan 2.2, whose levels have other shapes.
    public static func weights(
        _ config: WanVAEConfig,
        clips: any ClipSource,
        seed: UInt64
    ) throws -> [String: Tensor] {
        guard !config.isResidual, config.inChannels == config.outChannels else {
            throw TrainingError(
                .invalidRecipe,
                "vae.model: only an autoencoder of Wan 2.1's kind (is_residual: false, as many "
                    + "channels in as out) starts from a linear code"
            )
        }
        let samples = try pixels(config, clips)
        return try withoutGradients { () throws(TorchError) -> [String: Tensor] in
            var code = LinearCodeWriter(config, try randomWeights(config, seed: seed))
            try code.write(samples)
            return code.weights
        }
    }

    /// Patches of sample clips in [-1, 1]: [N, T, H, W, C p p] in the order channel, column, row.
    private static func pixels(_ config: WanVAEConfig, _ clips: any ClipSource) throws -> Tensor {
        let frames = config.temporalStride
        let size = max(128, config.spatialStride)
        let patch = config.patchSize
        var samples: [Tensor] = []
        for index in 0..<160 {
            // Far from the numbers that training begins with.
            let clip = try clips.clip(
                index: (1 << 48) + UInt64(index),
                frames: frames,
                height: size,
                width: size
            )
            let side = size / patch
            let split = try clip.reshaped(frames, 3, side, patch, side, patch)
            samples.append(
                try split.permuted(0, 2, 4, 1, 5, 3).reshaped(frames, side, side, -1) * 2 - 1
            )
        }
        return try stacked(samples)
    }

    /// Convolutions that keep the size of what they read; residual branches end in zeros.
    private static func randomWeights(
        _ config: WanVAEConfig,
        seed: UInt64
    ) throws(TorchError) -> [String: Tensor] {
        let generator = try Generator(seed: seed)
        let source = MadeWeights { key, shape throws(TorchError) in
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
