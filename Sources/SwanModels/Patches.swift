import Torch

extension Tensor {
    /// [B, C, T, H, W] -> [B, T, H/p, W/p, C p p], in the order channel, column, row.
    func inPatches(_ p: Int) throws(TorchError) -> Tensor {
        guard p > 1 else { return try permuted(0, 2, 3, 4, 1).contiguous() }
        if suitsFrameKernels { return try patches(self, size: p) }
        let (b, c, t) = (size(0), size(1), size(2))
        let (h, w) = (size(3) / p, size(4) / p)
        return try reshaped(b, c, t, h, p, w, p).permuted(0, 2, 3, 5, 1, 6, 4)
            .reshaped(b, t, h, w, c * p * p)
    }

    /// [B, T, h, w, C p p] -> [B, T, h p, w p, C], of channels in the order channel, column, row.
    func outOfPatches(_ p: Int) throws(TorchError) -> Tensor {
        guard p > 1 else { return self }
        if suitsFrameKernels { return try pixels(ofPatches: self, size: p) }
        let (b, t, h, w) = (size(0), size(1), size(2), size(3))
        let c = size(4) / (p * p)
        return try reshaped(b, t, h, w, c, p, p).permuted(0, 1, 2, 6, 3, 5, 4)
            .reshaped(b, t, h * p, w * p, c)
    }

    /// The shape but for the dimension `dim`.
    func shape(without dim: Int) -> [Int] {
        var shape = shape
        shape.remove(at: dim)
        return shape
    }
}
