import Foundation
package import SwanSystem
package import Torch

/// Augmentations that keep footage plausible: mirroring, exposure, and permuted color channels.
package enum Augmentation {
    /// Returns `clip` [T, 3, H, W] in [0, 1] with random augmentations, possibly none.
    package static func apply(_ clip: Tensor, _ random: inout SampleRandom) throws(SwanError)
        -> Tensor
    {
        var clip = clip
        if random.chance(0.5) { clip = try clip.flipped([3]) }
        if random.chance(0.4) {
            let gamma = exp(random.normal(0.25))
            let gain = random.chance(0.2) ? random.uniform(0.2, 0.7) : random.uniform(0.7, 1.1)
            let offset = random.uniform(-0.05, 0.05)
            clip = try PixelMath.power(clip, gamma) * gain + offset
        }
        if random.chance(0.15) {
            let order = try Tensor(random.shuffled([0, 1, 2]), [3])
            clip = try clip.indexSelected(1, order)
        }
        return try clip.clamped(min: 0, max: 1)
    }
}
