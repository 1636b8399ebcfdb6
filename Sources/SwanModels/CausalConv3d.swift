import SwanSystem
import Torch
import TorchNN

/// A convolution over frames, rows and columns that sees only the current and earlier frames.
///
/// Videos are [B, F, H, W, C], channels last.
struct CausalConv3d: Sendable {
    /// The number of frames that the kernel covers.
    private let frames: Int
    private let stride: Int
    private let kernel: PreparedKernel
    private let bias: Tensor

    /// Loads the layer under a path: `weight` [outputs, inputs, frames, size, size], `bias`
    /// [outputs].
    ///
    /// - Parameter stride: The step from one output frame to the next.
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

    /// Creates the layer from a kernel [outputs, inputs, frames, size, size] and a bias [outputs].
    private init(weight: Tensor, bias: Tensor, stride: Int) throws(SwanError) {
        frames = weight.size(2)
        self.stride = stride
        kernel = try .causal(weight, stride: stride)
        self.bias = bias
    }

    /// x [B, F, H, W, I] -> [B, F, H, W, O] plus `residual`; the frames before x come from the
    /// caches.
    func callAsFunction(
        _ x: Tensor,
        _ caches: inout FeatureCaches,
        adding residual: Tensor? = nil
    ) throws(SwanError) -> Tensor {
        let reach = kernel.weight.size(-1) / 2
        return try seeing(caches.rows, above: reach, below: reach, of: x) {
            part,
            top throws(SwanError) in
            let missing = part.size(2) - x.size(2)
            let residual = try residual.map { residual throws(SwanError) in
                missing == 0
                    ? residual : try residual.padded([0, 0, 0, 0, top, missing - top])
            }
            guard frames > 1 else {
                return try causalConv3d(part, kernel, bias, after: nil, residual: residual)
            }
            return try caches.withFront(frames - 1, of: part) { front throws(SwanError) in
                try causalConv3d(part, kernel, bias, after: front, residual: residual)
            }
        }
    }

    /// Convolves x [B, F, H, W, I] without padding over frames: every output frame sees a full
    /// kernel of input frames.
    func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try causalConv3d(joined: x, kernel, bias, stride: stride)
    }
}

extension CausalConv3d {
    /// Splits the outputs of a kernel of three frames and one pixel: the layers that compute the
    /// even and the odd frames when the frame rate is doubled.
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
