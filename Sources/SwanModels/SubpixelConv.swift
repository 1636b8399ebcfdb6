import Torch

/// A 3x3 convolution to four times as many channels, which are the four pixels that come of each: a
/// sub-pixel convolution (Shi et al., https://arxiv.org/abs/1609.05158).
///
/// Unlike one of pixels that were doubled it knows at which of the four it is. Where nothing is recorded for
/// gradients it runs on a CPU in float32 by Winograd's filtering, with as many multiplications as that one's;
/// elsewhere it takes 9/4 of them.
struct SubpixelConv: Sendable {
    /// [4 O, I, 3, 3], the outputs of each of the four pixels together.
    private let weight: Tensor
    /// [4 O]
    private let bias: Tensor
    /// The same for Winograd's filtering, where that serves.
    private let packed: Tensor?

    /// The layer of a kernel [O 4, I, 3, 3] and a bias [O 4]: for each output the pixels in the order row,
    /// column, as `torch.nn.PixelShuffle` has them.
    init(_ weight: Tensor, bias: Tensor) throws(TorchError) {
        func byPixel(_ x: Tensor) throws(TorchError) -> Tensor {
            try x.unflattened(0, [x.size(0) / 4, 4]).transposed(0, 1).flattened(from: 0, to: 1)
        }
        self.weight = try byPixel(weight).contiguous(.channelsLast)
        self.bias = try byPixel(bias)
        // Below 8 channels going into and out of the filter's form costs more than it saves.
        guard weight.size(1) >= 8, weight.suitsFrameKernels, !bias.requiresGrad else {
            packed = nil
            return
        }
        // The last frame of a causal kernel, which is all that a single frame meets. The others' share of the
        // form is carried along: little for the narrow networks that have such layers.
        packed = try winogradWeight(self.weight.unsqueezed(2).padded([0, 0, 0, 0, 2, 0]))
    }

    /// Frames [B, F, H, W, I], taken in turn from each of `parts` -> [B, F P, 2 H, 2 W, O].
    func callAsFunction(_ parts: [Tensor]) throws(TorchError) -> Tensor {
        let outputs = bias.size(0) / 4
        let images = try parts.map { part throws(TorchError) in
            try convolved(part).unflattened(-1, [2, 2, outputs])
                .permuted(0, 1, 2, 4, 3, 5, 6)  // [B, F, H, 2, W, 2, O]
        }
        let (b, f, h, w) = (parts[0].size(0), parts[0].size(1), parts[0].size(2), parts[0].size(3))
        return try stacked(images, dim: 2).reshaped(b, f * parts.count, 2 * h, 2 * w, outputs)
    }

    /// [B, F, H, W, I] -> [B, F, H, W, 4 O]
    private func convolved(_ x: Tensor) throws(TorchError) -> Tensor {
        guard let packed, !x.requiresGrad else {
            return try SwanModels.convolved(x, weight, bias, padding: 1)
        }
        let frames = try x.flattened(from: 0, to: 1).unsqueezed(1)
        return try winogradConvolution(nil, frames, packed, bias).reshaped(
            Array(x.shape.dropLast()) + [bias.size(0)]
        )
    }
}
