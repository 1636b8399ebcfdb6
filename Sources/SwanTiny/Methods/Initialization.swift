import Foundation
import SwanModels
import SwanSystem
import Torch
import TorchNN

private let qrOp = Operator("aten::linalg_qr")

/// Initial weights, each determined by the seed and its key alone.
enum Initialization {
    /// Initializes a transformer as a filter of its input that is close to what it has to learn.
    ///
    /// Follows Wan's `init_weights` (wan/modules/model.py), except: patches are rotated into as
    /// many dimensions as they have values, and scaled down; the remaining dimensions hold a
    /// constant that dominates the layer norms, which would otherwise discard a token's amplitude;
    /// text, time and residual branches contribute from the first step, and text the most, since a
    /// prompt shares its attention with the padding after it; and the head has the gain of 5 to 10
    /// that a flow over little noise needs.
    static func transformer(
        _ config: WanConfig,
        seed: UInt64
    ) throws(SwanError) -> [String: Tensor] {
        let rotation = try rotation(config, seed: seed)
        let source = MadeWeights { key, shape throws(SwanError) in
            let generator = try generator(seed, key)
            switch key {
            case "patch_embedding.weight": return try (rotation * 0.15).reshaped(shape)
            case "patch_embedding.bias": return try constant(config)
            case "head.head.weight": return try head(config, rotation)
            default: break
            }
            if key.hasSuffix("modulation") {
                let table = try Tensor.randn(shape, generator) * pow(Double(shape[2]), -0.5)
                // Open gates in the blocks, and the gain in the head.
                let offsets: [Float] = shape[1] == 6 ? [0, 0, 1, 0, 0, 1] : [0, 7]
                return try table + Tensor(offsets, [1, shape[1], 1])
            }
            if shape.count == 1 {
                return key.hasSuffix("bias") ? try .zeros(shape) : try .ones(shape)
            }
            let isBranch = key.hasSuffix("self_attn.o.weight") || key.hasSuffix("ffn.2.weight")
            let isText = key.hasSuffix("cross_attn.o.weight")
            return try uniform(shape, generator) * (isBranch ? 0.3 : isText ? 5 : 1)
        }
        _ = try CausalWanTransformer(Weights(source), config)
        return source.tensors
    }

    /// Initializes a text encoder with unit-variance embeddings and layers that preserve the scale
    /// of their input.
    static func textEncoder(
        _ config: UMT5Config,
        seed: UInt64
    ) throws(SwanError) -> [String: Tensor] {
        let source = MadeWeights { key, shape throws(SwanError) in
            let generator = try generator(seed, key)
            if shape.count == 1 { return try .ones(shape) }
            if key.hasPrefix("token_embedding") { return try .randn(shape, generator) }
            let deviation =
                key.contains("pos_embedding")
                ? 0.1
                // T5's attention has no scale factor: it is part of the query weights.
                : key.hasSuffix("attn.q.weight")
                    ? pow(Double(shape[1] * config.headDim), -0.5) : pow(Double(shape[1]), -0.5)
            return try Tensor.randn(shape, generator) * deviation
        }
        _ = try UMT5Encoder(Weights(source), config)
        return source.tensors
    }

    private static func generator(_ seed: UInt64, _ key: String) throws(SwanError) -> Generator {
        try Generator(seed: Seed.mixed(seed, Seed.named(key)))
    }

    /// Returns values from Xavier's uniform distribution
    /// (https://proceedings.mlr.press/v9/glorot10a.html).
    private static func uniform(
        _ shape: [Int],
        _ generator: Generator
    ) throws(SwanError) -> Tensor {
        let bound = (6 / Double(shape[0] + shape.dropFirst().reduce(1, *))).squareRoot()
        return try (Tensor.rand(shape, generator) - 0.5) * (2 * bound)
    }

    /// The number of values in one patch.
    private static func patch(_ config: WanConfig) -> Int {
        config.inDim * config.patchSize.reduce(1, *)
    }

    /// Returns [dim, patch]: orthonormal rows with zeros below them.
    private static func rotation(_ config: WanConfig, seed: UInt64) throws(SwanError) -> Tensor {
        let (dim, patch) = (config.dim, patch(config))
        let generator = try generator(seed, "rotation")
        guard dim > patch else {
            return try orthogonal(patch, dim, generator).transposed(0, 1).contiguous()
        }
        return try orthogonal(patch, patch, generator).padded([0, 0, 0, dim - patch])
    }

    private static func orthogonal(
        _ rows: Int,
        _ columns: Int,
        _ generator: Generator
    ) throws(SwanError) -> Tensor {
        try qrOp.tensors(Tensor.randn([rows, columns], generator), "reduced")[0]
    }

    /// Returns [dim]: zero in the patch's dimensions, then plus and minus 3 in halves, so that the
    /// mean is zero.
    private static func constant(_ config: WanConfig) throws(SwanError) -> Tensor {
        let patch = patch(config)
        return try Tensor(
            (0..<config.dim).map { index -> Float in
                if index < patch { return 0 }
                return index - patch < (config.dim - patch) / 2 ? 3 : -3
            },
            [config.dim]
        )
    }

    /// Returns a multiple of the inverse rotation, with channels innermost. With the head's gain of
    /// 8, the initial flow on average undoes the damping of latents by the noise.
    private static func head(_ config: WanConfig, _ rotation: Tensor) throws(SwanError) -> Tensor {
        let places = config.patchSize.reduce(1, *)
        guard config.inDim == config.outDim, config.dim > patch(config) else {
            return try .zeros([places * config.outDim, config.dim])
        }
        return try (rotation * -0.4).reshaped(config.dim, config.inDim, places)
            .permuted(2, 1, 0).reshaped(places * config.outDim, config.dim)
    }
}
