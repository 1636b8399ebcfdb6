import Foundation
import SwanModels
import SwanSystem
import SwanThreads
import SwanTraining
import Synchronization
import Torch

/// Clips that were put through every style and encoded, kept while samples are drawn from them.
///
/// Clip `n` is a function of the seed and of `n`, so a resumed run makes the same ones again. They are
/// made in their order, a few before they are asked for.
final class LatentPool: Sendable {
    private let encoder: ClipEncoder
    private let phase: StreamPhase
    private let threads: Int
    private let stop: CancellationFlag
    private let state = Mutex(State())

    private struct State {
        /// Latents by clip number: [styles + 1, C, F, H, W], the source first.
        var encoded: [Int: Tensor] = [:]
        /// The clips to come, from the first one that was asked for.
        var coming: Prefetcher<Tensor>?
        /// The number of the next of them.
        var next = 0
    }

    /// A pool of a phase's clips, the first of which has the index `firstIndex`; `threads` make them,
    /// `encoders` of which encode at a time, until the job is cancelled.
    init(
        _ clips: any ClipSource,
        styles: [Style],
        codec: LatentCodec,
        options: StreamTrainingOptions,
        phase: StreamPhase,
        firstIndex: UInt64,
        seed: UInt64,
        threads: Int = 1,
        encoders: Int = 1,
        stop: CancellationFlag = CancellationFlag()
    ) {
        encoder = ClipEncoder(
            clips: clips,
            styles: styles,
            codec: codec,
            options: options,
            size: phase.size,
            firstIndex: firstIndex,
            seed: seed,
            turns: DispatchSemaphore(value: encoders)
        )
        self.phase = phase
        self.threads = threads
        self.stop = stop
    }

    deinit { state.withLock { $0.coming }?.cancel() }

    /// Where its clips come from.
    var clips: any ClipSource { encoder.clips }
    /// What they are encoded by.
    var codec: LatentCodec { encoder.codec }
    /// Their height and width in pixels.
    var size: Int { encoder.size }

    /// The source latents of a clip and those of its styled form, [C, F, H, W] each.
    func pair(_ number: Int, style: Int) throws -> (source: Tensor, target: Tensor) {
        guard let latents = state.withLock({ $0.encoded[number] }) else {
            throw SwanError(.invalidData, "clip \(number) is not in the pool")
        }
        return (try latents.selected(0, 0), try latents.selected(0, style + 1))
    }

    /// Takes up what is missing in `range`, and lets go of what is before it; ranges only go forward.
    ///
    /// After a cancellation the rest stays missing.
    func fill(_ range: Range<Int>) throws {
        try state.withLock { state in
            state.encoded = state.encoded.filter { range.contains($0.key) }
            let coming = try state.coming ?? start(at: range.lowerBound, &state)
            while state.next < range.upperBound {
                let number = state.next
                // Also a clip that fails is one that was taken; after a stop nothing is.
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

/// Makes the clips of a pool.
private struct ClipEncoder: Sendable {
    let clips: any ClipSource
    let styles: [Style]
    let codec: LatentCodec
    let options: StreamTrainingOptions
    let size: Int
    let firstIndex: UInt64
    let seed: UInt64
    /// Pictures are made by all threads, and encoded by a few at a time: memory holds their layers.
    let turns: DispatchSemaphore

    /// The latents of a clip and of its forms in all styles: [styles + 1, C, F, H, W].
    func encode(_ number: Int) throws -> Tensor {
        let index = firstIndex + UInt64(number)
        var random = SampleRandom(seed: seed, index: index, purpose: .pooledClip)
        // An endless stream hardly ever sees the latent of a video's first frame, which holds one
        // frame where the others hold four.
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
