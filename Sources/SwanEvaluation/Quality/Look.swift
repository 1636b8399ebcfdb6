public import SwanSystem
import SwanTraining
public import Torch

/// What the distance between styles sees of pictures: their colours, and where brightness changes.
///
/// The distance of two looks is the mean squared error of red, green and blue plus that of the
/// brightness's central differences, both at full size and in the same unit. The first alone tells
/// apart the styles that recolour (sepia, night, autumn). Pixel art stays within 20 to 22 dB of the
/// picture it is made of, and there the second is a quarter of the distance; comic, at 16 dB, has a tenth
/// to a sixth: squares and lines that are missing or washed out are missed twice.
///
/// What is wrong with a picture without being of any style, such as grain or a wrong detail, adds
/// nearly the same to its distance from every target. So the nearest target is the one whose
/// difference from the others the picture shares.
public struct Look {
    /// [T, 3, H, W]
    private let colours: Tensor
    /// [T, 1, H, W - 2]
    private let across: Tensor
    /// [T, 1, H - 2, W]
    private let down: Tensor

    /// The look of pictures [T, 3, H, W] in [0, 1].
    public init(_ frames: Tensor) throws(SwanError) {
        colours = frames
        let luma = try PixelMath.luma(frames)
        let (height, width) = (frames.size(2), frames.size(3))
        across = try (luma.sliced(3, from: 2) - luma.sliced(3, 0..<(width - 2))) * 0.5
        down = try (luma.sliced(2, from: 2) - luma.sliced(2, 0..<(height - 2))) * 0.5
    }

    /// How far it is from the look of other pictures of the same size; 0 for the same pictures.
    public func distance(to other: Look) throws(SwanError) -> Double {
        let colour = try PictureQuality.squaredError(colours, other.colours)
        let across = try PictureQuality.squaredError(across, other.across)
        return try colour + across + PictureQuality.squaredError(down, other.down)
    }
}
