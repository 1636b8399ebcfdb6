import SwanSystem
import Torch

/// A 3x3 convolution after nearest-neighbor upsampling to twice the height and width.
struct EnlargingConv: Sendable {
    private let kernel: PreparedKernel
    /// [O]
    private let bias: Tensor

    /// Creates the layer from a kernel [O, I, 3, 3] and a bias [O].
    init(_ weight: Tensor, bias: Tensor?) throws(SwanError) {
        if let bias {
            self.bias = bias
        } else {
            self.bias = try .zeros([weight.size(0)], weight.dtype, weight.device)
        }
        kernel = try .enlarging(weight, bias: self.bias)
    }

    /// Upsamples and convolves frames [B, F, H, W, C], taken from each of `parts` in turn.
    func callAsFunction(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        try enlargingConv(parts, kernel, bias)
    }
}
