import SwanSystem
import Torch

extension Tensor {
    /// [B, C, T, H, W] -> [B, T, H/p, W/p, C p p], in the order channel, column, row.
    func inPatches(_ p: Int) throws(SwanError) -> Tensor {
        guard p > 1 else { return try permuted(0, 2, 3, 4, 1).contiguous() }
        return try patches(self, size: p)
    }

    /// [B, T, h, w, C p p] -> [B, T, h p, w p, C], from channels in the order channel, column, row.
    func outOfPatches(_ p: Int) throws(SwanError) -> Tensor {
        try p > 1 ? pixels(ofPatches: self, size: p) : self
    }

    /// The shape without the dimension `dim`.
    func shape(without dim: Int) -> [Int] {
        var shape = shape
        shape.remove(at: dim)
        return shape
    }
}
