import SwanThreads
import Torch
import SwanCheckpoints

/// Where the frames of a stream come from; the first stage's thread asks for them.
public struct StreamSource: Sendable {
    /// The next frame, for which it may wait; nil at the end.
    public let next: @Sendable () throws -> TimedFrame?
    /// Whether chunks on their way are to be dropped; asked at the end.
    public let isStopped: @Sendable () -> Bool
    /// Called when no more frames are wanted; has `next` return if it waits.
    public let cancel: @Sendable () -> Void

    /// A source of these parts.
    public init(
        next: @escaping @Sendable () throws -> TimedFrame?,
        isStopped: @escaping @Sendable () -> Bool = { false },
        cancel: @escaping @Sendable () -> Void = {}
    ) {
        self.next = next
        self.isStopped = isStopped
        self.cancel = cancel
    }
}

extension VideoStream {
    /// Runs the stream to its end with its stages side by side, each on a thread: as much work in
    /// less time, since one core works on the next chunk while another finishes the last.
    ///
    /// - Parameter deliver: called on this thread with each chunk; false ends the stream.
    public func run(
        _ source: StreamSource,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let encoding = encoding
        try drive(
            { put in
                while let frame = try source.next() {
                    if let chunk = try encoding.add(frame), !put(chunk) { return }
                }
                while !source.isStopped(), let chunk = try encoding.finish(), put(chunk) {}
            },
            isStopped: source.isStopped,
            cancel: source.cancel,
            deliver: deliver
        )
    }

    /// Generates `frames` frames or some more from noise and the prompts, as `run` does.
    ///
    /// - Parameter willStart: called before each chunk with the number of its first frame.
    func generate(
        atLeast frames: Int,
        willStart: @escaping @Sendable (Int) throws -> Void,
        isStopped: @escaping @Sendable () -> Bool,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let encoding = encoding
        let latentFrames = options.configuration.framesPerBlock
        let stride = encoding.temporalStride
        try drive(
            { put in
                var first = 0
                while first < frames, !isStopped() {
                    try willStart(first)
                    guard put(try encoding.noise()) else { return }
                    first += stride * latentFrames - (first == 0 ? stride - 1 : 0)
                }
            },
            isStopped: isStopped,
            cancel: {},
            deliver: deliver
        )
    }

    private func drive(
        _ produce: @escaping SideBySideStages<NoisedChunk, CleanChunk>.Produce,
        isStopped: @escaping @Sendable () -> Bool,
        cancel: () -> Void,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let (budget, denoising) = (budget, denoising)
        // The stages share the cores: none takes all of them, or each would wait for the others' threads.
        let half = budget.divided(by: 2)
        let stages = SideBySideStages<NoisedChunk, CleanChunk>(
            names: ("swan.encode", "swan.denoise"),
            threadStarts: { budget.apply() },
            produce: produce,
            transform: { try denoising.denoise($0) },
            drain: { try denoising.drain() },
            // Until the first chunk is through a stage, those behind it have nothing to do.
            chunkIsDone: { half.apply() }
        )
        try budget.run {
            try stages.run(isStopped: isStopped, cancel: cancel) { clean in
                let chunk = try decode(clean, overlapping: true)
                half.apply()
                return try deliver(chunk)
            }
        }
    }
}
