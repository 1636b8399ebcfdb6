import SwanTraining
public import Torch
public import SwanSystem

/// One step of a style: a rule from pictures [T, 3, H, W] in [0, 1] to such pictures.
///
/// In a recipe a filter stands as its name, or as a name with its numbers: `outlines`, `{blur: 1.5}`.
public enum PixelFilter: Sendable, Hashable {
    /// A Gaussian blur of so many pixels.
    case blur(sigma: Double)
    /// Colours moved towards gray (below 1) or away from it.
    case saturation(Double)
    /// Every value to a power: above 1 darkens.
    case gamma(Double)
    /// New red, green and blue as mixtures of the old: three rows of three factors and perhaps an offset.
    case matrix([[Double]])
    /// Brightness through evenly spaced colours, from dark to bright.
    case ramp([[Double]])
    /// Brightness in so many soft steps, colours kept.
    case tones(Int)
    /// Squares of so many pixels, each of one colour. The picture's sides are multiples of it.
    case mosaic(Int)
    /// White paper, dark where a place is darker than its surroundings.
    case pencil
    /// Glowing edges on black, pink on dark ground and cyan on bright.
    case outlines
    /// Bright, strong colours under lines of ink.
    case comic
    /// Leaves turn: green becomes red and gold, blue fades.
    case foliage

    /// The filtered pictures, values clamped to [0, 1].
    public func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try apply(x).clamped(min: 0, max: 1)
    }

    /// Why it cannot be applied to square pictures of `side` pixels; nil where it can.
    func misfit(_ side: Int) -> String? {
        switch self {
        case .blur(let sigma) where PixelMath.blurRadius(sigma) >= side:
            "a blur of \(sigma) pixels needs larger pictures"
        case .mosaic(let size) where !side.isMultiple(of: size):
            "squares of \(size) pixels do not fill them"
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
                "squares of \(size) pixels do not fill a picture of \(width)x\(height)"
            )
        }
        let split = [x.size(0), 3, height / size, size, width / size, size]
        return try x.reshaped(split).mean([3, 5], keepDim: true).expanded(split).reshaped(x.shape)
    }

    private static func pencil(_ x: Tensor) throws(SwanError) -> Tensor {
        try lines(x, sigma: 1, strength: 2.5) * PixelMath.colour(0.96, 0.95, 0.92)
    }

    /// What ink or pencil leaves of white paper, dark where a place is darker than its surroundings:
    /// [T, 1, H, W].
    private static func lines(
        _ x: Tensor,
        sigma: Double,
        strength: Double
    ) throws(SwanError) -> Tensor {
        let luma = try PixelMath.luma(x)
        // Brightness against the surroundings; the constant keeps dark noise from being drawn.
        let line = try PixelMath.blurred(luma, sigma) + 0.04
        let ratio = try line / (PixelMath.blurred(luma, 4) + 0.04)
        return try PixelMath.power(ratio.clamped(max: 1), strength)
    }

    private static func outlines(_ x: Tensor) throws(SwanError) -> Tensor {
        let luma = try PixelMath.blurred(PixelMath.luma(x), 1.8)
        let edges = try (PixelMath.gradient(luma) * 15).tanh()
        let light = try edges + PixelMath.blurred(edges, 4) * 0.6
        let ground = try PixelMath.blurred(luma, 2)
        let pink = try PixelMath.colour(1, 0.1, 0.8)
        let cyan = try PixelMath.colour(0.1, 1, 1)
        return try light * (pink + (cyan - pink) * ground) + PixelMath.colour(0.02, 0.01, 0.06)
    }

    private static func comic(_ x: Tensor) throws(SwanError) -> Tensor {
        // Lifted out of the dark: there too it has to look like a comic.
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
