package import SwanSystem
import SwanTraining
package import Torch

/// The features of images that the distance between styles compares: colors, and changes of brightness.
///
/// The distance between two looks is the mean squared error of red, green and blue plus that of the
/// central differences of brightness, both at full size and in the same unit. The first term alone
/// distinguishes the styles that change colors (sepia, night, autumn). Pixel art stays within 20 to 22 dB
/// of its source image, and there the second term is a quarter of the distance; for comic, at 16 dB, it is
/// a tenth to a sixth: it penalizes squares and lines that are missing or washed out a second time.
///
/// Errors that do not belong to any style, such as grain or a wrong detail, add nearly the same amount to
/// the distance from every target. So the nearest target is the one whose difference from the others the
/// image shares.
package struct StyleFeatures {
    /// [T, 3, H, W]
    private let colors: Tensor
    /// [T, 1, H, W - 2]
    private let across: Tensor
    /// [T, 1, H - 2, W]
    private let down: Tensor

    /// Creates the look of images [T, 3, H, W] in [0, 1].
    package init(_ frames: Tensor) throws(SwanError) {
        colors = frames
        let luma = try PixelMath.luma(frames)
        let (height, width) = (frames.size(2), frames.size(3))
        across = try (luma.sliced(3, from: 2) - luma.sliced(3, 0..<(width - 2))) * 0.5
        down = try (luma.sliced(2, from: 2) - luma.sliced(2, 0..<(height - 2))) * 0.5
    }

    /// Returns the distance from the look of other images of the same size; 0 for identical images.
    package func distance(to other: StyleFeatures) throws(SwanError) -> Double {
        let color = try PictureQuality.squaredError(colors, other.colors)
        let across = try PictureQuality.squaredError(across, other.across)
        return try color + across + PictureQuality.squaredError(down, other.down)
    }
}
