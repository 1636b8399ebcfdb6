import Foundation
import SwanModels
import SwanSystem
import SwanThreads
import SwanTraining
import Synchronization
import Torch

/// A pool of clips that were rendered in every style and encoded, from which samples are drawn.
///
/// Clip `n` depends only on the seed and `n`, so a resumed run makes the same clips. They are made
/// in order, a few ahead of use.
final class LatentPool: Sendable {
    private let encoder: ClipEncoder
    private let phase: StreamPhase
    private let threads: Int
    private let stop: CancellationFlag
    private let state = Mutex(State())

    private struct State {
        /// Latents by clip number: [styles + 1, C, F, H, W], the source first.
        var encoded: [Int: Tensor] = [:]
        /// Makes the upcoming clips, starting from the first one requested.
        var coming: Prefetcher<Tensor>?
        /// The number of the next upcoming clip.
        var next = 0
    }

    /// Creates the pool of a phase; `threads` threads make its clips until the job is cancelled.
    init(
        _ encoder: ClipEncoder,
        phase: StreamPhase,
        threads: Int = 1,
        stop: CancellationFlag = CancellationFlag()
    ) {
        self.encoder = encoder
        self.phase = phase
        self.threads = threads
        self.stop = stop
    }

    deinit { state.withLock { $0.coming }?.cancel() }

    /// The source of the clips.
    var clips: any ClipSource { encoder.clips }
    /// The codec that encodes the clips.
    var codec: LatentCodec { encoder.codec }
    /// The height and width of the clips in pixels.
    var size: Int { encoder.size }

    /// Returns the latents of a clip and of its styled version, [C, F, H, W] each.
    func pair(_ number: Int, style: Int) throws -> (source: Tensor, target: Tensor) {
        guard let latents = state.withLock({ $0.encoded[number] }) else {
            throw SwanError(.invalidData, "clip \(number) is not in the pool")
        }
        return (try latents.selected(0, 0), try latents.selected(0, style + 1))
    }

    /// Adds the missing clips of `range` and removes those before it; ranges only move forward.
    ///
    /// After a cancellation, clips may still be missing.
    func fill(_ range: Range<Int>) throws {
        try state.withLock { state in
            state.encoded = state.encoded.filter { range.contains($0.key) }
            let coming = try state.coming ?? start(at: range.lowerBound, &state)
            while state.next < range.upperBound {
                let number = state.next
                // A clip that fails counts as taken; after a cancellation nothing is.
                state.next += 1
                guard let latents = try coming.next(1, unless: stop)?.first else { return }
                if range.contains(number) { state.encoded[number] = latents }
            }
        }
    }

    private func start(
        at first: Int,
        _ state: inout State
    ) throws(SwanError) -> Prefetcher<Tensor> {
        let coming = try Prefetcher(
            first..<max(first, phase.clips),
            threads: threads,
            make: encoder.encode
        )
        (state.coming, state.next) = (coming, first)
        return coming
    }
}

/// Renders and encodes the clips of a pool.
struct ClipEncoder: Sendable {
    let clips: any ClipSource
    let styles: [Style]
    let codec: LatentCodec
    let options: StreamTrainingOptions
    /// The height and width of the clips in pixels.
    let size: Int
    /// The index of the first clip.
    let firstIndex: UInt64
    let seed: UInt64
    /// All threads render clips, but only a few encode at a time, because activations take memory.
    var turns = DispatchSemaphore(value: 1)

    /// Returns the latents of a clip and of its versions in all styles: [styles + 1, C, F, H, W].
    func encode(_ number: Int) throws -> Tensor {
        let index = firstIndex + UInt64(number)
        var random = SampleRandom(seed: seed, index: index, purpose: .pooledClip)
        // Long streams rarely see the latent of a video's first frame, which holds one frame
        // instead of four.
        let skipped = random.chance(options.runningClips) ? 1 : 0
        let frames = codec.videoFrames(ofLatents: options.latentFrames + skipped)
        let clip = try clips.clip(index: index, frames: frames, height: size, width: size)
        var forms = [clip]
        for style in styles { forms.append(try style(clip)) }
        turns.wait()
        defer { turns.signal() }
        return try withoutGradients {
            let latents = try codec.encode(stacked(forms))  // [K, C, F, H, W]
            return try latents.narrowed(2, skipped, options.latentFrames).contiguous()
        }
    }
}
