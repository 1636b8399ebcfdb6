package import SwanMedia
package import SwanSystem
import SwanTraining
package import Torch

/// How sharp and how contrasty a clip of drawn scenes is.
///
/// Drawn things are of one color, so that all there is to see are their edges. What a network makes
/// when it cannot choose among several scenes is their mean, whose edges are flat.
package struct ClipTexture: Sendable {
    /// The height of the edges: the length of the color's gradient over a pixel, where it is
    /// steepest (as many places as the image has lines), averaged over these and the frames. A
    /// drawn edge has the distance between the colors of its two sides.
    package let sharpness: Double
    /// The standard deviation of all values of the clip.
    package let contrast: Double

    /// Measures a clip [T, 3, H, W] in [0, 1].
    package init(_ clip: Tensor) throws(SwanError) {
        let (frames, height, width) = (clip.size(0), clip.size(2), clip.size(3))
        let inner = try clip.sliced(2, 0..<height - 1).sliced(3, 0..<width - 1)
        let down = try clip.sliced(2, 1..<height).sliced(3, 0..<width - 1) - inner
        let right = try clip.sliced(2, 0..<height - 1).sliced(3, 1..<width) - inner
        let lengths = try (down.pow(2) + right.pow(2)).sum([1]).squareRoot()  // [T, H - 1, W - 1]
        let steepest = try lengths.reshaped(frames, -1).sorted(descending: true).values
            .narrowed(1, 0, min(height, (height - 1) * (width - 1)))
        sharpness = try steepest.mean().item()
        let mean = try clip.mean()
        contrast = try (clip - mean).pow(2).mean().squareRoot().item()
    }
}

/// Figures of clips, averaged.
struct TextureMeans {
    private var sums = (sharpness: 0.0, contrast: 0.0)
    private var count = 0

    mutating func add(_ clip: Tensor) throws(SwanError) {
        let texture = try ClipTexture(clip)
        sums.sharpness += texture.sharpness
        sums.contrast += texture.contrast
        count += 1
    }

    var sharpness: Double { sums.sharpness / Double(count) }
    var contrast: Double { sums.contrast / Double(count) }
}

extension Tensor {
    /// The pixels of frames of the same size: [T, 3, H, W] in [0, 1].
    package init(clip frames: [VideoFrame], of model: String) throws(SwanError) {
        guard let first = frames.first else {
            throw SwanError(.invalidModel, "\(model): generated no frames")
        }
        let pixels = try Tensor(
            frames.flatMap(\.pixels),
            [frames.count, first.height, first.width, 3]
        )
        self = try PixelMath.values(pixels.permuted(0, 3, 1, 2).contiguous())
    }
}
