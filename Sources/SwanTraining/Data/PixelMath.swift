import Foundation
package import Torch
package import SwanSystem

/// Pixel operations that the styles are built from. Images are [T, C, H, W] in [0, 1].
package enum PixelMath {
    /// Returns the luma (ITU-R BT.601): [T, 1, H, W].
    package static func luma(_ x: Tensor) throws(SwanError) -> Tensor {
        let red = try x.sliced(1, 0..<1) * 0.299
        let green = try x.sliced(1, 1..<2) * 0.587
        return try red + green + x.sliced(1, 2..<3) * 0.114
    }

    /// Applies a Gaussian blur of `sigma` pixels, truncated at three sigmas, with reflected
    /// borders.
    package static func blurred(_ x: Tensor, _ sigma: Double) throws(SwanError) -> Tensor {
        let down = try blurMatrix(x.size(2), sigma)
        let across = try blurMatrix(x.size(3), sigma)
        // As matrix products: faster here than a depthwise convolution.
        return try matmul(matmul(down, x), across.transposed(0, 1))
    }

    /// The radius at which a Gaussian is truncated; images must be larger than this.
    package static func blurRadius(_ sigma: Double) -> Int { Int(3 * sigma + 0.5) }

    /// Returns the blur as a matrix: row i holds the weights of a line's pixels for output pixel i:
    /// [n, n].
    private static func blurMatrix(_ n: Int, _ sigma: Double) throws(SwanError) -> Tensor {
        let radius = blurRadius(sigma)
        guard radius < n else {
            throw SwanError(
                .invalidArgument,
                "a blur of \(sigma) pixels needs images larger than \(radius) pixels"
            )
        }
        let weights = (-radius...radius).map { exp(-Double($0 * $0) / (2 * sigma * sigma)) }
        let sum = weights.reduce(0, +)
        var matrix = [Float](repeating: 0, count: n * n)
        for row in 0..<n {
            for (step, weight) in zip(-radius...radius, weights) {
                let place = abs(row + step)
                let column = place < n ? place : 2 * (n - 1) - place
                matrix[row * n + column] += Float(weight / sum)
            }
        }
        return try Tensor(matrix, [n, n])
    }

    /// Raises nonnegative values to a power; several times faster than libtorch's operator.
    package static func power(_ x: Tensor, _ exponent: Double) throws(SwanError) -> Tensor {
        try (x.clamped(min: 0).log() * exponent).exp()
    }

    /// Returns the magnitude of the gradient, from central differences.
    package static func gradient(_ x: Tensor) throws(SwanError) -> Tensor {
        let (height, width) = (x.size(2), x.size(3))
        let padded = try x.padded([1, 1, 1, 1], mode: "reflect")
        let rows = try padded.sliced(2, 1..<(height + 1))
        let columns = try padded.sliced(3, 1..<(width + 1))
        let dx = try (rows.sliced(3, from: 2) - rows.sliced(3, 0..<width)) * 0.5
        let dy = try (columns.sliced(2, from: 2) - columns.sliced(2, 0..<height)) * 0.5
        return try (dx * dx + dy * dy + 1e-8).squareRoot()
    }

    /// Quantizes luma to `count` levels above black with soft transitions; hard ones would flicker
    /// where the luma is close to a threshold. Preserves the ratios of the color channels.
    package static func inTones(_ x: Tensor, _ count: Int) throws(SwanError) -> Tensor {
        let luma = try luma(x)
        let tone = try luma * Double(count)
        let step = try tone.floor()
        let tones = try (step + ((tone - step - 0.5) * 14).sigmoid()) * (1 / Double(count))
        return try x * ((tones + 0.02) / (luma + 0.02)).clamped(min: 0, max: 2.5)
    }

    /// Returns a color that broadcasts over images.
    package static func color(_ red: Double, _ green: Double, _ blue: Double) throws(SwanError)
        -> Tensor
    {
        try Tensor([Float(red), Float(green), Float(blue)], [1, 3, 1, 1])
    }

    /// Maps luma [T, 1, H, W] through evenly spaced colors with linear interpolation.
    package static func ramp(_ v: Tensor, _ stops: [[Double]]) throws(SwanError) -> Tensor {
        let last = stops.count - 1
        let place = try v.clamped(min: 0, max: 1) * Double(last)
        var sum = try place.zerosLike()
        for (index, stop) in stops.enumerated() {
            let share = try (1 - (place - Double(index)).abs()).clamped(min: 0)
            sum = try sum + share * color(stop[0], stop[1], stop[2])
        }
        return sum
    }

    /// Mixes the three channels by rows of three factors and an optional offset.
    package static func mixed(_ x: Tensor, _ rows: [[Double]]) throws(SwanError) -> Tensor {
        let factors = try Tensor(rows.flatMap { $0.prefix(3).map(Float.init) }, [3, 3])
        let pixels = try matmul(factors, x.flattened(from: 2))  // [T, 3, H W]
        let mixed = try pixels.reshaped(x.shape)
        let offsets = rows.map { $0.count > 3 ? $0[3] : 0 }
        guard offsets.contains(where: { $0 != 0 }) else { return mixed }
        return try mixed + color(offsets[0], offsets[1], offsets[2])
    }

    /// Converts bytes to values in [0, 1].
    package static func values(_ bytes: Tensor) throws(SwanError) -> Tensor {
        try bytes.to(.float32) * (1 / 255)
    }

    /// Converts values in [0, 1] to bytes.
    package static func bytes(_ values: Tensor) throws(SwanError) -> Tensor {
        try (values * 255).rounded().clamped(min: 0, max: 255).to(.uint8)
    }
}
