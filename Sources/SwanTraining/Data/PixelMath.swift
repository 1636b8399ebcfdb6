import Foundation
package import Torch
package import SwanSystem

/// What the styles are made of. Pictures are [T, C, H, W] in [0, 1].
package enum PixelMath {
    /// The brightness a person sees (ITU-R BT.601): [T, 1, H, W].
    package static func luma(_ x: Tensor) throws(SwanError) -> Tensor {
        let red = try x.sliced(1, 0..<1) * 0.299
        let green = try x.sliced(1, 1..<2) * 0.587
        return try red + green + x.sliced(1, 2..<3) * 0.114
    }

    /// A Gaussian of `sigma` pixels, cut at three sigmas; the picture is mirrored at its borders.
    package static func blurred(_ x: Tensor, _ sigma: Double) throws(SwanError) -> Tensor {
        let down = try blurMatrix(x.size(2), sigma)
        let across = try blurMatrix(x.size(3), sigma)
        // As matrices: faster here than a convolution over single channels.
        return try matmul(matmul(down, x), across.transposed(0, 1))
    }

    /// Where a Gaussian is cut; pictures are larger than it.
    package static func blurRadius(_ sigma: Double) -> Int { Int(3 * sigma + 0.5) }

    /// Row i holds the weights with which a line's pixels enter pixel i: [n, n].
    private static func blurMatrix(_ n: Int, _ sigma: Double) throws(SwanError) -> Tensor {
        let radius = blurRadius(sigma)
        guard radius < n else {
            throw SwanError(
                .invalidArgument,
                "a blur of \(sigma) pixels needs pictures above \(radius) pixels"
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

    /// Every value, not below 0, to a power: several times faster than the engine's own.
    package static func power(_ x: Tensor, _ exponent: Double) throws(SwanError) -> Tensor {
        try (x.clamped(min: 0).log() * exponent).exp()
    }

    /// The length of the gradient, from central differences.
    package static func gradient(_ x: Tensor) throws(SwanError) -> Tensor {
        let (height, width) = (x.size(2), x.size(3))
        let padded = try x.padded([1, 1, 1, 1], mode: "reflect")
        let rows = try padded.sliced(2, 1..<(height + 1))
        let columns = try padded.sliced(3, 1..<(width + 1))
        let dx = try (rows.sliced(3, from: 2) - rows.sliced(3, 0..<width)) * 0.5
        let dy = try (columns.sliced(2, from: 2) - columns.sliced(2, 0..<height)) * 0.5
        return try (dx * dx + dy * dy + 1e-8).squareRoot()
    }

    /// Brightness in `count` steps above black, soft ones: a hard one would flicker where brightness
    /// lies near it. Colours keep their proportions.
    package static func inTones(_ x: Tensor, _ count: Int) throws(SwanError) -> Tensor {
        let luma = try luma(x)
        let tone = try luma * Double(count)
        let step = try tone.floor()
        let tones = try (step + ((tone - step - 0.5) * 14).sigmoid()) * (1 / Double(count))
        return try x * ((tones + 0.02) / (luma + 0.02)).clamped(min: 0, max: 2.5)
    }

    /// A colour that broadcasts over pictures.
    package static func colour(_ red: Double, _ green: Double, _ blue: Double) throws(SwanError)
        -> Tensor
    {
        try Tensor([Float(red), Float(green), Float(blue)], [1, 3, 1, 1])
    }

    /// Brightness [T, 1, H, W] through evenly spaced colours, straight lines between them.
    package static func ramp(_ v: Tensor, _ stops: [[Double]]) throws(SwanError) -> Tensor {
        let last = stops.count - 1
        let place = try v.clamped(min: 0, max: 1) * Double(last)
        var sum = try place.zerosLike()
        for (index, stop) in stops.enumerated() {
            let share = try (1 - (place - Double(index)).abs()).clamped(min: 0)
            sum = try sum + share * colour(stop[0], stop[1], stop[2])
        }
        return sum
    }

    /// The three channels as other mixtures of them: rows of three factors and perhaps an offset.
    package static func mixed(_ x: Tensor, _ rows: [[Double]]) throws(SwanError) -> Tensor {
        let factors = try Tensor(rows.flatMap { $0.prefix(3).map(Float.init) }, [3, 3])
        let pixels = try matmul(factors, x.flattened(from: 2))  // [T, 3, H W]
        let mixed = try pixels.reshaped(x.shape)
        let offsets = rows.map { $0.count > 3 ? $0[3] : 0 }
        guard offsets.contains(where: { $0 != 0 }) else { return mixed }
        return try mixed + colour(offsets[0], offsets[1], offsets[2])
    }

    /// Bytes as values in [0, 1].
    package static func values(_ bytes: Tensor) throws(SwanError) -> Tensor {
        try bytes.to(.float32) * (1 / 255)
    }

    /// Values in [0, 1] as bytes.
    package static func bytes(_ values: Tensor) throws(SwanError) -> Tensor {
        try (values * 255).rounded().clamped(min: 0, max: 255).to(.uint8)
    }
}
