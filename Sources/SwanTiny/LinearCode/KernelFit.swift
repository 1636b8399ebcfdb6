import SwanSystem
import Torch

/// Least-squares fits of 3x3 convolutions.
enum KernelFit {
    /// Returns the kernel [O, I, 3, 3] with the least squared error from `x` [..., H, W, I] to `y`
    /// [..., H, W, O].
    static func kernel(from x: Tensor, to y: Tensor) throws(SwanError) -> Tensor {
        let inputs = x.size(-1)
        let rows = try neighborhoods(x)  // [M, 9 I]
        let covariance = try matmul(rows.transposed(0, 1), rows).to(.float64)
        let products = try matmul(rows.transposed(0, 1), y.reshaped(-1, y.size(-1))).to(.float64)
        let (values, vectors) = try covariance.symmetricEigen()
        // Damp directions with little variance instead of amplifying them.
        let damping = try values.mean().item() * 1e-4
        let scaled =
            try matmul(vectors.transposed(0, 1), products)
            / (values + damping).unsqueezed(1)
        let weights = try matmul(vectors, scaled).to(.float32)  // [9 I, O]
        return try weights.reshaped(3, 3, inputs, -1).permuted(3, 2, 0, 1).contiguous()
    }

    /// Convolves `x` [..., H, W, I] with `kernel` [O, I, 3, 3] and zero padding: [..., H, W, O].
    static func apply(_ kernel: Tensor, _ x: Tensor) throws(SwanError) -> Tensor {
        let weights = try kernel.permuted(2, 3, 1, 0).reshaped(-1, kernel.size(0))
        return try matmul(neighborhoods(x), weights)
            .reshaped(Array(x.shape.dropLast()) + [kernel.size(0)])
    }

    /// Gathers the neighborhood of every pixel, rows first: [..., H, W, I] -> [M, 9 I].
    private static func neighborhoods(_ x: Tensor) throws(SwanError) -> Tensor {
        let (height, width, inputs) = (x.size(-3), x.size(-2), x.size(-1))
        let padded = try x.reshaped(-1, height, width, inputs).padded([0, 0, 1, 1, 1, 1])
        var shifted: [Tensor] = []
        for row in 0..<3 {
            for column in 0..<3 {
                shifted.append(try padded.narrowed(1, row, height).narrowed(2, column, width))
            }
        }
        return try concatenated(shifted, dim: -1).reshaped(-1, 9 * inputs)
    }
}
