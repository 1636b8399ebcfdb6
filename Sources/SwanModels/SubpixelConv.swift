import SwanSystem
import Torch

/// A sub-pixel convolution: 3x3, to four times as many channels, which become the four pixels of
/// each input pixel (Shi et al., https://arxiv.org/abs/1609.05158).
///
/// Unlike a convolution of upsampled pixels, it distinguishes the four.
struct SubpixelConv: Sendable {
    private let kernel: PreparedKernel
    /// [4 O], grouped by pixel.
    private let bias: Tensor

    /// Creates the layer from a kernel [O 4, I, 3, 3] and a bias [O 4].
    ///
    /// The four pixels of each output are in the order row, column, as in `torch.nn.PixelShuffle`.
    init(_ weight: Tensor, bias: Tensor) throws(SwanError) {
        func byPixel(_ x: Tensor) throws(SwanError) -> Tensor {
            try x.unflattened(0, [x.size(0) / 4, 4]).transposed(0, 1).flattened(from: 0, to: 1)
        }
        self.bias = try byPixel(bias)
        kernel = try .subpixel(byPixel(weight).contiguous(.channelsLast), bias: self.bias)
    }

    /// Convolves frames [B, F, H, W, I], taken from each of `parts` in turn -> [B, F P, 2 H, 2 W,
    /// O].
    func callAsFunction(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        try subpixelConv(parts, kernel, bias)
    }
}
