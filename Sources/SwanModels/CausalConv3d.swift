import SwanSystem
import Torch
import TorchNN

/// A convolution over frames, rows and columns that sees only the present and earlier frames.
///
/// Videos lie as [B, F, H, W, C] with the channels side by side.
struct CausalConv3d: Sendable {
    /// Frames the kernel covers.
    private let frames: Int
    private let stride: Int
    private let kernel: PreparedKernel
    private let bias: Tensor

    /// The layer under a path: `weight` [outputs, inputs, frames, size, size], `bias` [outputs].
    ///
    /// - Parameter stride: the step from one output frame to the next.
    init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        frames: Int = 3,
        size: Int = 3,
        stride: Int = 1
    ) throws(SwanError) {
        try self.init(
            weight: weights.tensor("weight", [outputs, inputs, frames, size, size]),
            bias: weights.tensor("bias", [outputs]),
            stride: stride
        )
    }

    /// The layer of a kernel [outputs, inputs, frames, size, size] and a bias [outputs].
    private init(weight: Tensor, bias: Tensor, stride: Int) throws(SwanError) {
        frames = weight.size(2)
        self.stride = stride
        kernel = try .causal(weight, stride: stride)
        self.bias = bias
    }

    /// x [B, F, H, W, I] -> [B, F, H, W, O] plus `residual`; frames before x come from the caches.
    func callAsFunction(
        _ x: Tensor,
        _ caches: inout FeatureCaches,
        adding residual: Tensor? = nil
    ) throws(SwanError) -> Tensor {
        guard frames > 1 else {
            return try causalConv3d(x, kernel, bias, after: nil, residual: residual)
        }
        return try caches.withFront(frames - 1, of: x) { front throws(SwanError) in
            try causalConv3d(x, kernel, bias, after: front, residual: residual)
        }
    }

    /// x [B, F, H, W, I], of which every output frame sees as many as the kernel covers.
    func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try causalConv3d(joined: x, kernel, bias, stride: stride)
    }
}

extension CausalConv3d {
    /// A kernel of three frames and one pixel with its outputs cut in two: the layers that make the
    /// even and the odd frames when frames are doubled.
    static func halves(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int
    ) throws(SwanError) -> [CausalConv3d] {
        let weight = try weights.tensor("weight", [outputs, inputs, 3, 1, 1])
        let bias = try weights.tensor("bias", [outputs])
        return try [0, outputs / 2].map { start throws(SwanError) in
            try CausalConv3d(
                weight: weight.narrowed(0, start, outputs / 2),
                bias: bias.narrowed(0, start, outputs / 2),
                stride: 1
            )
        }
    }
}
