import SwanSystem
import Torch
import TorchNN

/// A layer of the autoencoder: x [B, F, H, W, C] -> [B, F', H', W', C'].
protocol WanVAELayer: Sendable {
    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor
}

/// Normalization by the root mean square over the channels, with a gain for each.
struct WanVAENorm: Sendable {
    private let gain: Tensor

    /// - Parameter dims: The number of trailing dimensions of size 1 in the checkpoint.
    init(_ weights: Weights, _ dim: Int, dims: Int = 3) throws(SwanError) {
        let gamma = try weights.tensor("gamma", [dim] + Array(repeating: 1, count: dims))
        gain = try gamma.flattened() * Double(dim).squareRoot()
    }

    /// x [..., C] -> the same shape, as a new tensor.
    func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try pixelNorm(x, gain: gain, silu: false)
    }

    /// SiLU of the normalized x, the input of all convolutions.
    func activated(_ x: Tensor) throws(SwanError) -> Tensor {
        try pixelNorm(x, gain: gain, silu: true)
    }
}

/// Two causal convolutions with a residual connection around them.
struct WanVAEResidualBlock: WanVAELayer {
    private let norm1, norm2: WanVAENorm
    private let conv1, conv2: CausalConv3d
    private let shortcut: CausalConv3d?

    init(_ weights: Weights, _ inputs: Int, _ outputs: Int) throws(SwanError) {
        let residual = weights["residual"]
        norm1 = try WanVAENorm(residual[0], inputs)
        conv1 = try CausalConv3d(residual[2], inputs, outputs)
        norm2 = try WanVAENorm(residual[3], outputs)
        conv2 = try CausalConv3d(residual[6], outputs, outputs)
        shortcut =
            inputs == outputs
            ? nil : try CausalConv3d(weights["shortcut"], inputs, outputs, frames: 1, size: 1)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let y = try conv1(norm1.activated(x), &caches)
        return try conv2(norm2.activated(y), &caches, adding: shortcut?(x) ?? x)
    }
}

/// Self-attention with one head among the pixels of each frame.
struct WanVAEAttentionBlock: WanVAELayer {
    private let norm: WanVAENorm
    private let toQKV, proj: Pointwise

    init(_ weights: Weights, _ dim: Int) throws(SwanError) {
        norm = try WanVAENorm(weights["norm"], dim, dims: 2)
        toQKV = try Pointwise(weights["to_qkv"], dim, 3 * dim)
        proj = try Pointwise(weights["proj"], dim, dim)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let qkv = try toQKV(norm(x))
        let y: Tensor
        if let rows = caches.rows {
            let c = x.size(4)
            let (own, all) = (try byFrame(qkv), try byFrame(rows.whole(qkv.sliced(-1, from: c))))
            y = try attentionByHead(
                own.narrowed(-1, 0, c),
                all.narrowed(-1, 0, c),
                all.narrowed(-1, c, c)
            )
        } else {
            let parts = try byFrame(qkv).chunked(3, dim: -1)  // each [B F, 1, H W, C]
            y = try attentionByHead(parts[0], parts[1], parts[2])
        }
        return try sum(proj(y.reshaped(x.shape)), x)
    }

    /// [B, F, H, W, C] -> [B F, 1, H W, C]
    private func byFrame(_ x: Tensor) throws(SwanError) -> Tensor {
        try x.flattened(from: 2, to: 3).flattened(from: 0, to: 1).unsqueezed(1)
    }

    /// A convolution of size 1, stored as [outputs, inputs, 1, 1].
    private struct Pointwise: Sendable {
        let weight, bias: Tensor

        init(_ weights: Weights, _ inputs: Int, _ outputs: Int) throws(SwanError) {
            weight = try weights.tensor("weight", [outputs, inputs, 1, 1])
                .contiguous(.channelsLast)
            bias = try weights.tensor("bias", [outputs])
        }

        func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
            try convolved(x, weight, bias, padding: 0)
        }
    }
}

/// a + b, in place if no gradient needs `a`.
func sum(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor {
    guard !a.requiresGrad && !b.requiresGrad else { return try a + b }
    var result = a
    try result.add(b)
    return result
}
