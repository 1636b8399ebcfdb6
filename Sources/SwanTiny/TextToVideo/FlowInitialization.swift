import Foundation
import SwanModels
import SwanSystem
import Torch
import TorchNN

/// Initial weights of a transformer that makes videos from noise, each determined by the seed and
/// its key.
///
/// Follows Wan's `init_weights` (wan/modules/model.py): a flow of zero, from which all is learned.
/// Gates are open, since a small model has few steps to open them, and residual branches are small.
enum FlowInitialization {
    /// Returns the weights of a transformer.
    static func transformer(
        _ config: WanConfig,
        seed: UInt64
    ) throws(SwanError) -> [String: Tensor] {
        let source = MadeWeights { key, shape throws(SwanError) in
            let generator = try Generator(seed: Seed.mixed(seed, Seed.named(key)))
            if key.hasPrefix("head.head") { return try .zeros(shape) }
            if key.hasSuffix("modulation") {
                let table = try Tensor.randn(shape, generator) * pow(Double(shape[2]), -0.5)
                guard shape[1] == 6 else { return table }
                return try table + Tensor([0, 0, 1, 0, 0, 1] as [Float], [1, 6, 1])
            }
            if shape.count == 1 {
                return key.hasSuffix("bias") ? try .zeros(shape) : try .ones(shape)
            }
            let inputs = Double(shape.dropFirst().reduce(1, *))
            let bound = (6 / (Double(shape[0]) + inputs)).squareRoot()
            let isBranch = key.hasSuffix("attn.o.weight") || key.hasSuffix("ffn.2.weight")
            let isTime = key.hasPrefix("time_projection")
            return try (Tensor.rand(shape, generator) - 0.5)
                * (2 * bound * (isBranch ? 0.5 : isTime ? 0.3 : 1))
        }
        _ = try WanTransformer(Weights(source), config)
        // Keys and values of cross-attention are made when a text is given.
        return source.tensors
    }
}
