import SwanSystem
import Torch

/// A two-dimensional convolution of every frame: x [B, F, H, W, I] -> [B, F, H', W', O].
func convolved(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor?,
    stride: Int = 1,
    padding: Int,
    groups: Int = 1
) throws(SwanError) -> Tensor {
    let images = try x.flattened(from: 0, to: 1).permuted(0, 3, 1, 2)
    let result = try conv2d(
        images,
        weight,
        bias,
        stride: [stride, stride],
        padding: [padding, padding],
        groups: groups
    )
    return try result.permuted(0, 2, 3, 1).unflattened(0, [x.size(0), x.size(1)])
}
