import SwanModels
import Synchronization
import Torch

/// Clips that were put through every style and encoded, kept while samples are drawn from them.
///
/// Clip `n` is a function of the seed and of `n`, so a resumed run makes the same ones again.
final class LatentPool: Sendable {
    /// Where its clips come from.
    let clips: any ClipSource
    private let styles: [Style]
    /// What they are encoded by.
    let codec: LatentCodec
    private let options: StreamOptions
    /// Their height and width in pixels.
    let size: Int
    private let firstIndex: UInt64
    private let seed: UInt64
    // Latents by clip number: [styles + 1, C, F, H, W], the source first.
    private let encoded = Mutex<[Int: Tensor]>([:])

    /// A pool of clips of `size` by `size` pixels, the first of which has the index `firstIndex`.
    init(
        _ clips: any ClipSource,
        styles: [Style],
        codec: LatentCodec,
        options: StreamOptions,
        size: Int,
        firstIndex: UInt64,
        seed: UInt64
    ) {
        self.clips = clips
        self.styles = styles
        self.codec = codec
        self.options = options
        self.size = size
        self.firstIndex = firstIndex
        self.seed = seed
    }

    /// The source latents of a clip and those of its styled form, [C, F, H, W] each.
    func pair(_ number: Int, style: Int) throws -> (source: Tensor, target: Tensor) {
        guard let latents = encoded.withLock({ $0[number] }) else {
            throw TrainingError(.invalidData, "clip \(number) is not in the pool")
        }
        return (try latents.selected(0, 0), try latents.selected(0, style + 1))
    }

    /// Encodes what is missing in `range` and lets go of what is before it.
    func fill(_ range: Range<Int>) throws {
        let held = encoded.withLock { encoded in
            encoded = encoded.filter { range.contains($0.key) }
            return Set(encoded.keys)
        }
        for number in range where !held.contains(number) {
            let latents = try withoutGradients { try encode(number) }
            encoded.withLock { $0[number] = latents }
        }
    }

    private func encode(_ number: Int) throws -> Tensor {
        let index = firstIndex + UInt64(number)
        var random = SampleRandom(seed: seed, index: index, purpose: 1)
        // An endless stream hardly ever sees the latent of a video's first frame, which holds one
        // frame where the others hold four.
        let skipped = random.chance(options.runningClips) ? 1 : 0
        let frames = 4 * (options.latentFrames + skipped - 1) + 1
        let clip = try clips.clip(index: index, frames: frames, height: size, width: size)
        var forms = [clip]
        for style in styles { forms.append(try style(clip)) }
        let latents = try codec.encode(stacked(forms))  // [K, C, F, H, W]
        return try latents.narrowed(2, skipped, options.latentFrames).contiguous()
    }
}
