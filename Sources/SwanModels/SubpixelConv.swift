import SwanSystem
import Torch

/// A 3x3 convolution to four times as many channels, which are the four pixels that come of each: a
/// sub-pixel convolution (Shi et al., https://arxiv.org/abs/1609.05158).
///
/// Unlike one of pixels that were doubled it knows at which of the four it is.
struct SubpixelConv: Sendable {
    private let kernel: PreparedKernel
    /// [4 O], the outputs of each of the four pixels together.
    private let bias: Tensor

    /// The layer of a kernel [O 4, I, 3, 3] and a bias [O 4]: for each output the pixels in the order row,
    /// column, as `torch.nn.PixelShuffle` has them.
    init(_ weight: Tensor, bias: Tensor) throws(SwanError) {
        func byPixel(_ x: Tensor) throws(SwanError) -> Tensor {
            try x.unflattened(0, [x.size(0) / 4, 4]).transposed(0, 1).flattened(from: 0, to: 1)
        }
        self.bias = try byPixel(bias)
        kernel = try .subpixel(byPixel(weight).contiguous(.channelsLast), bias: self.bias)
    }

    /// Frames [B, F, H, W, I], taken in turn from each of `parts` -> [B, F P, 2 H, 2 W, O].
    func callAsFunction(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        try subpixelConv(parts, kernel, bias)
    }
}
