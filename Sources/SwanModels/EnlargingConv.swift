import Torch

/// A 3x3 convolution after doubling every pixel in height and width.
///
/// The large image is never made. Where nothing is recorded for gradients it runs on a CPU in float32 by
/// Winograd's filtering, with a quarter of the multiplications. Elsewhere it is, for each of the four pixels
/// that come of one, a 2x2 convolution of the small image: 4/9 of the work.
struct EnlargingConv: Sendable {
    /// [O, I, 3, 3], as in the checkpoint.
    private let weight: Tensor
    /// [O]
    private let bias: Tensor
    /// The layer as one of the small image, unless `packed` is used in its place.
    private let folded: Folded?
    private let packed: Tensor?

    fileprivate struct Folded {
        /// [4 O, I, 2, 2]
        let weight: Tensor
        /// [4 O]
        let bias: Tensor
    }

    /// The layer of a kernel [O, I, 3, 3] and a bias [O].
    init(_ weight: Tensor, bias: Tensor?) throws(TorchError) {
        self.weight = weight
        if let bias {
            self.bias = bias
        } else {
            self.bias = try .zeros([weight.size(0)], weight.dtype, weight.device)
        }
        // Below 8 channels going into and out of the filter's form costs more than it saves.
        let isWide = weight.size(1) >= 8
        let isPlain = weight.suitsFrameKernels && !self.bias.requiresGrad
        packed = isWide && isPlain ? try enlargingWeight(weight) : nil
        folded = packed == nil ? try Folded(weight, self.bias) : nil
    }

    /// Frames [B, F, H, W, C], taken in turn from each of `parts`, at twice their size and convolved.
    func callAsFunction(_ parts: [Tensor]) throws(TorchError) -> Tensor {
        if let packed, parts.allSatisfy({ !$0.requiresGrad }) {
            return try enlargingConvolution(parts, packed, bias)
        }
        let small: Folded
        if let folded { small = folded } else { small = try Folded(weight, bias) }
        let outputs = weight.size(0)
        let (b, f, h, w) = (parts[0].size(0), parts[0].size(1), parts[0].size(2), parts[0].size(3))
        let grids = try parts.map { part throws(TorchError) in
            try convolved(part, small.weight, small.bias, padding: 1)
                .unflattened(-1, [2, 2, outputs])  // [B, F, H+1, W+1, 2, 2, O]
        }
        let shape = [b, f * parts.count, 2 * h, 2 * w, outputs]
        func pixels(_ grid: Tensor, _ row: Int, _ column: Int) throws(TorchError) -> Tensor {
            try grid.narrowed(2, row, h).narrowed(3, column, w).selected(4, row).selected(4, column)
        }
        guard grids.allSatisfy({ !$0.requiresGrad }) else {
            let images = try grids.map { grid throws(TorchError) in
                let rows = try [0, 1].map { row throws(TorchError) in
                    try stacked([pixels(grid, row, 0), pixels(grid, row, 1)], dim: 4)
                }
                return try stacked(rows, dim: 3)  // [B, F, H, 2, W, 2, O]
            }
            return try stacked(images, dim: 2).reshaped(shape)
        }
        let result = try Tensor.empty(shape, parts[0].dtype, parts[0].device)
        let target = try result.viewed([b, f, parts.count, h, 2, w, 2, outputs])
        for (index, grid) in grids.enumerated() {
            for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                var place = try target.selected(2, index).selected(3, row).selected(4, column)
                try place.copy(from: pixels(grid, row, column))
            }
        }
        return result
    }
}

extension EnlargingConv.Folded {
    /// A kernel [O, I, 3, 3] and a bias [O]: for the upper and lower (left and right) pixel of two, the rows
    /// (columns) that fall on the same small pixel summed.
    init(_ weight: Tensor, _ bias: Tensor) throws(TorchError) {
        func fold(_ w: Tensor, _ dim: Int) throws(TorchError) -> [Tensor] {
            let (a, b, c) = try (
                w.narrowed(dim, 0, 1), w.narrowed(dim, 1, 1), w.narrowed(dim, 2, 1)
            )
            return try [concatenated([a, b + c], dim: dim), concatenated([a + b, c], dim: dim)]
        }
        var parts: [Tensor] = []
        for row in try fold(weight, 2) { parts += try fold(row, 3) }
        self.weight = try concatenated(parts).contiguous(.channelsLast)
        self.bias = try bias.repeated([4])
    }
}
