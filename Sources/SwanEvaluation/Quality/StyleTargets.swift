import SwanSystem
import SwanTiny
import SwanTraining
import Torch

/// The exact renderings of a clip in several styles, which a stream's output is compared with.
struct StyleTargets {
    let styles: [Style]
    /// Frames [T, 3, H, W] for each style, uint8: as precise as an output can be, in a quarter of the memory.
    private let pixels: [Tensor]

    /// Renders the first `count` frames of a clip.
    init(_ clip: QualityClip, styles: [Style], count: Int) throws(SwanError) {
        self.styles = styles
        let batch = 16
        pixels = try styles.map { style throws(SwanError) in
            var parts: [Tensor] = []
            for first in stride(from: 0, to: count, by: batch) {
                let frames = try clip.pixels.narrowed(0, first, min(batch, count - first))
                parts.append(try PixelMath.bytes(style(PixelMath.values(frames))))
            }
            return try concatenated(parts)
        }
    }

    /// Returns frames of the clip in the style with index `position`: [T, 3, H, W] in [0, 1].
    func target(_ position: Int, frames: [Int]) throws(SwanError) -> Tensor {
        try PixelMath.values(
            pixels[position].indexSelected(0, Tensor(frames, [frames.count]))
        )
    }

    /// Returns the index of the style that is nearest to `output` [T, 3, H, W], generated from these frames.
    func nearest(to output: Tensor, frames: [Int]) throws(SwanError) -> Int {
        let look = try StyleFeatures(output)
        var best = (position: 0, distance: Double.infinity)
        for position in styles.indices {
            let distance = try look.distance(to: StyleFeatures(target(position, frames: frames)))
            if distance < best.distance { best = (position, distance) }
        }
        return best.position
    }
}
