import Torch
import TorchNN

/// Half the height and width, and half the frames if `time`.
struct WanVAEDownsample: WanVAELayer {
    private let weight, bias: Tensor
    private let timeConv: CausalConv3d?

    init(_ weights: Weights, _ dim: Int, time: Bool) throws(TorchError) {
        let conv = weights["resample"][1]
        weight = try conv.tensor("weight", [dim, dim, 3, 3]).contiguous(.channelsLast)
        bias = try conv.tensor("bias", [dim])
        timeConv =
            time
            ? try CausalConv3d(weights["time_conv"], dim, dim, frames: 3, size: 1, stride: 2) : nil
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(TorchError) -> Tensor {
        // One row and column of zeros at the far edges only.
        let padded = try x.padded([0, 0, 0, 1, 0, 1])
        let y = try convolved(padded, weight, bias, stride: 2, padding: 0)
        guard let timeConv else { return y }
        let joined = try caches.prependingLast(to: y)
        guard caches.isStart else { return try timeConv(joined) }
        // The video's first frame stays as it is; pairs of frames follow it.
        guard y.size(1) > 1 else { return y }
        return try concatenated([y.narrowed(1, 0, 1), timeConv(joined)], dim: 1)
    }
}

/// Twice the height and width, and twice the frames if `time`.
struct WanVAEUpsample: WanVAELayer {
    private let outputs: Int
    private let weight, bias: Tensor
    private let timeConvs: [CausalConv3d]

    init(_ weights: Weights, _ inputs: Int, _ outputs: Int, time: Bool) throws(TorchError) {
        let conv = weights["resample"][1]
        self.outputs = outputs
        weight = try Self.folded(conv.tensor("weight", [outputs, inputs, 3, 3]))
        bias = try conv.tensor("bias", [outputs]).repeated([4])
        timeConvs =
            time ? try CausalConv3d.halves(weights["time_conv"], inputs, 2 * inputs) : []
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(TorchError) -> Tensor {
        guard !timeConvs.isEmpty else { return try enlarged([x]) }
        // The video's first frame stays one frame, and the others do not see it.
        guard caches.isStart else { return try doubled(caches.prepending(2, to: x)) }
        let first = try x.narrowed(1, 0, 1)
        let joined = try caches.prepending(2, to: x.sliced(1, from: 1))
        guard x.size(1) > 1 else { return try enlarged([first]) }
        return try concatenated([enlarged([first]), doubled(joined)], dim: 1)
    }

    /// x [B, 2 + F, H, W, C] -> [B, 2 F, 2 H, 2 W, O]
    private func doubled(_ x: Tensor) throws(TorchError) -> Tensor {
        try enlarged([timeConvs[0](x), timeConvs[1](x)])
    }

    /// Frames [B, F, H, W, C], taken in turn from each of `parts`, at twice their size and convolved.
    ///
    /// A 3x3 convolution after doubling every pixel is, for each of the four pixels that come of one,
    /// a 2x2 convolution of the small image: 4/9 of the work, and the large image is never made.
    private func enlarged(_ parts: [Tensor]) throws(TorchError) -> Tensor {
        let (b, f, h, w) = (parts[0].size(0), parts[0].size(1), parts[0].size(2), parts[0].size(3))
        let grids = try parts.map { part throws(TorchError) in
            try convolved(part, weight, bias, padding: 1)
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

    /// [O, I, 3, 3] -> [4 O, I, 2, 2]: for the upper and lower (left and right) pixel of two, the rows
    /// (columns) that fall on the same small pixel summed.
    private static func folded(_ weight: Tensor) throws(TorchError) -> Tensor {
        func fold(_ w: Tensor, _ dim: Int) throws(TorchError) -> [Tensor] {
            let (a, b, c) = try (
                w.narrowed(dim, 0, 1), w.narrowed(dim, 1, 1), w.narrowed(dim, 2, 1)
            )
            return try [concatenated([a, b + c], dim: dim), concatenated([a + b, c], dim: dim)]
        }
        var parts: [Tensor] = []
        for row in try fold(weight, 2) { parts += try fold(row, 3) }
        return try concatenated(parts).contiguous(.channelsLast)
    }
}
