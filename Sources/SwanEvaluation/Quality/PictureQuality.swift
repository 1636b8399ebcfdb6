import Foundation
import SwanModels
package import SwanSystem
import SwanTiny
import SwanTraining
package import Torch

/// Metrics for the similarity of videos, and for their change over time. Frames are [T, 3, H, W] in [0, 1].
package enum PictureQuality {
    /// Returns the peak signal-to-noise ratio in dB for a mean squared error; 100 at most.
    package static func psnr(squaredError: Double) -> Double {
        min(100, -10 * log10(squaredError))
    }

    /// Returns the mean squared error over all values.
    package static func squaredError(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Double {
        try (a - b).pow(2).mean().item()
    }

    /// Returns the structural similarity (SSIM) of the brightness of each frame, 1 for equal frames: [T].
    ///
    /// Uses Gaussian windows of 11 pixels with a standard deviation of 1.5, without those that cross the
    /// border; constants as in Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861.
    package static func ssim(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor {
        let (x, y) = (try PixelMath.luma(a), try PixelMath.luma(b))
        let radius = 5
        let (height, width) = (a.size(2) - 2 * radius, a.size(3) - 2 * radius)
        guard height > 0, width > 0 else {
            throw SwanError(
                .invalidArgument,
                "structural similarity needs frames of at least \(2 * radius + 1) pixels a side, not "
                    + "\(a.size(3))x\(a.size(2))"
            )
        }
        let moments = try concatenated([x, y, x * x, y * y, x * y], dim: 1)  // [T, 5, H, W]
        let means = try PixelMath.blurred(moments, 1.5).narrowed(2, radius, height)
            .narrowed(3, radius, width).chunked(5, dim: 1)
        let product = try means[0] * means[1]
        let squares = try (means[0] * means[0], means[1] * means[1])
        let covariance = try means[4] - product
        let variances = try means[2] + means[3] - squares.0 - squares.1
        let (c1, c2) = (0.01 * 0.01, 0.03 * 0.03)
        let above = try (product * 2 + c1) * (covariance * 2 + c2)
        let below = try (squares.0 + squares.1 + c1) * (variances + c2)
        return try (above / below).mean([1, 2, 3])
    }

    /// Returns the mean squared change from each frame to the next: [T - 1].
    package static func changes(_ frames: Tensor) throws(SwanError) -> Tensor {
        let count = frames.size(0) - 1
        return try (frames.sliced(0, from: 1) - frames.sliced(0, 0..<count)).pow(2)
            .mean([1, 2, 3])
    }
}
