import SwanTraining
package import Torch
package import SwanSystem

/// One step of a style: a function from images [T, 3, H, W] in [0, 1] to images of the same shape.
///
/// In a recipe, a filter is its name, or its name with parameters: `outlines`, `{blur: 1.5}`.
package enum PixelFilter: Sendable, Hashable {
    /// A Gaussian blur with a standard deviation of `sigma` pixels.
    case blur(sigma: Double)
    /// Moves colors toward gray (below 1) or away from it.
    case saturation(Double)
    /// Raises every value to a power: above 1 darkens.
    case gamma(Double)
    /// Mixes red, green and blue: three rows of three factors and an optional offset.
    case matrix([[Double]])
    /// Maps luma through evenly spaced colors, from dark to bright.
    case ramp([[Double]])
    /// Quantizes luma to this many levels with soft transitions, preserving colors.
    case tones(Int)
    /// Pixelates with squares of this size. The image's sides must be multiples of it.
    case mosaic(Int)
    /// Pencil lines on white paper where a pixel is darker than its surroundings.
    case pencil
    /// Glowing edges on black: pink on dark areas and cyan on bright ones.
    case outlines
    /// Bright, saturated colors with ink lines.
    case comic
    /// Autumn foliage: green becomes red and gold, blue fades.
    case foliage

    /// Applies the filter and clamps values to [0, 1].
    package func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try apply(x).clamped(min: 0, max: 1)
    }

    /// The reason why the filter cannot be applied to square images of `side` pixels; nil if it
    /// can.
    func misfit(_ side: Int) -> String? {
        switch self {
        case .blur(let sigma) where PixelMath.blurRadius(sigma) >= side:
            "a blur of \(sigma) pixels needs larger images"
        case .mosaic(let size) where !side.isMultiple(of: size):
            "a mosaic of \(size) pixels needs a multiple of that size"
        default: nil
        }
    }

    private func apply(_ x: Tensor) throws(SwanError) -> Tensor {
        switch self {
        case .blur(let sigma): return try PixelMath.blurred(x, sigma)
        case .saturation(let amount):
            return try x * amount + PixelMath.luma(x) * (1 - amount)
        case .gamma(let exponent): return try PixelMath.power(x, exponent)
        case .matrix(let rows): return try PixelMath.mixed(x, rows)
        case .ramp(let stops): return try PixelMath.ramp(PixelMath.luma(x), stops)
        case .tones(let count): return try PixelMath.inTones(x, count)
        case .mosaic(let size): return try Self.mosaic(x, size)
        case .pencil: return try Self.pencil(x)
        case .outlines: return try Self.outlines(x)
        case .comic: return try Self.comic(x)
        case .foliage: return try Self.foliage(x)
        }
    }

    private static func mosaic(_ x: Tensor, _ size: Int) throws(SwanError) -> Tensor {
        let (height, width) = (x.size(2), x.size(3))
        guard height.isMultiple(of: size), width.isMultiple(of: size) else {
            throw SwanError(
                .invalidArgument,
                "a mosaic of \(size) pixels does not fit an image of \(width)x\(height)"
            )
        }
        let split = [x.size(0), 3, height / size, size, width / size, size]
        return try x.reshaped(split).mean([3, 5], keepDim: true).expanded(split).reshaped(x.shape)
    }

    private static func pencil(_ x: Tensor) throws(SwanError) -> Tensor {
        try lines(x, sigma: 1, strength: 2.5) * PixelMath.color(0.96, 0.95, 0.92)
    }

    /// Returns the brightness of white paper with ink or pencil lines, drawn where a pixel is
    /// darker than its surroundings: [T, 1, H, W].
    private static func lines(
        _ x: Tensor,
        sigma: Double,
        strength: Double
    ) throws(SwanError) -> Tensor {
        let luma = try PixelMath.luma(x)
        // Luma relative to the surroundings; the constant keeps noise in dark areas from being
        // drawn.
        let line = try PixelMath.blurred(luma, sigma) + 0.04
        let ratio = try line / (PixelMath.blurred(luma, 4) + 0.04)
        return try PixelMath.power(ratio.clamped(max: 1), strength)
    }

    private static func outlines(_ x: Tensor) throws(SwanError) -> Tensor {
        let luma = try PixelMath.blurred(PixelMath.luma(x), 1.8)
        let edges = try (PixelMath.gradient(luma) * 15).tanh()
        let light = try edges + PixelMath.blurred(edges, 4) * 0.6
        let ground = try PixelMath.blurred(luma, 2)
        let pink = try PixelMath.color(1, 0.1, 0.8)
        let cyan = try PixelMath.color(0.1, 1, 1)
        return try light * (pink + (cyan - pink) * ground) + PixelMath.color(0.02, 0.01, 0.06)
    }

    private static func comic(_ x: Tensor) throws(SwanError) -> Tensor {
        // Brighten dark areas, so that they look like a comic too.
        let smooth = try PixelMath.power(PixelMath.blurred(x, 1.5), 0.65)
        let vivid = try (smooth * 2 - PixelMath.luma(smooth)) * 1.15
        return try vivid.clamped(min: 0, max: 1) * lines(x, sigma: 1.2, strength: 6)
    }

    private static func foliage(_ x: Tensor) throws(SwanError) -> Tensor {
        let luma = try PixelMath.luma(x)
        let channels = try x.chunked(3, dim: 1)
        let leaves = try maximum(channels[0], channels[1])
        return try concatenated(
            [
                try luma * 0.3 + leaves * 0.85 + 0.03,
                try luma * 0.3 + channels[1] * 0.42,
                try luma * 0.05 + channels[2] * 0.35,
            ],
            dim: 1
        )
    }
}
