import SwanSystem
import Torch

/// A 3x3 convolution after doubling every pixel in height and width.
struct EnlargingConv: Sendable {
    private let kernel: PreparedKernel
    /// [O]
    private let bias: Tensor

    /// The layer of a kernel [O, I, 3, 3] and a bias [O].
    init(_ weight: Tensor, bias: Tensor?) throws(SwanError) {
        if let bias {
            self.bias = bias
        } else {
            self.bias = try .zeros([weight.size(0)], weight.dtype, weight.device)
        }
        kernel = try .enlarging(weight, bias: self.bias)
    }

    /// Frames [B, F, H, W, C], taken in turn from each of `parts`, at twice their size and convolved.
    func callAsFunction(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        try enlargingConv(parts, kernel, bias)
    }
}
