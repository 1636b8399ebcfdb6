import SwanSystem
import Torch

/// A perceptual distance: the error in each frequency band relative to the local contrast.
///
/// Based on the normalized Laplacian pyramid distance (Laparra et al. 2016,
/// https://doi.org/10.2352/ISSN.2470-1173.2016.16.HVEI-103): an error in a flat area is visible,
/// the same error in grass is not. Uses the absolute error and takes the contrast from the target
/// alone, so that blurring the result never pays off.
enum PyramidDistance {
    /// Returns the mean over the bands of the relative error, for `error` = result - `target`,
    /// [B, 3, T, H, W] in [-1, 1].
    static func mean(_ error: Tensor, _ target: Tensor) throws(SwanError) -> Tensor {
        var error = try pictures(error)
        var target = try pictures(target)
        var sum = try Tensor.zeros([], .float32, error.device)
        for _ in 0..<levels {
            let (coarseError, errorBand) = try split(error)
            let (coarseTarget, targetBand) = try split(target)
            let contrast = try withoutGradients { () throws(SwanError) in
                try targetBand.abs().averagePooled2d(5, stride: 1, padding: 2) + leastContrast
            }
            sum = try sum + (errorBand.abs() / contrast).mean()
            error = coarseError
            target = coarseTarget
        }
        return try sum * (1 / Double(levels))
    }

    /// The number of bands, each half the size of the previous one.
    private static let levels = 3
    /// The contrast below which differences are not visible.
    private static let leastContrast = 0.1

    /// Splits images into a half-size version and the detail that it cannot represent.
    private static func split(_ x: Tensor) throws(SwanError) -> (coarse: Tensor, band: Tensor) {
        let coarse = try x.averagePooled2d(2, stride: 2)
        return (coarse, try x - coarse.upsampledNearest2x())
    }

    private static func pictures(_ x: Tensor) throws(SwanError) -> Tensor {
        try x.transposed(1, 2).flattened(from: 0, to: 1)
    }
}
