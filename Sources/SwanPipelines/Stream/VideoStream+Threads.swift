import SwanThreads
import Torch
import SwanCheckpoints

/// The source of a stream's frames, called on the first stage's thread.
public struct StreamSource: Sendable {
    /// Returns the next frame, waiting for it if necessary, or `nil` at the end.
    public let next: @Sendable () throws -> TimedFrame?
    /// Returns whether chunks in flight are dropped; called at the end.
    public let isStopped: @Sendable () -> Bool
    /// Returns whether even the chunk that is being denoised can be left unfinished; called before each step.
    public let isAborted: @Sendable () -> Bool
    /// Called when no more frames are needed; must make a waiting `next` return.
    public let cancel: @Sendable () -> Void

    /// Creates a source from closures.
    public init(
        next: @escaping @Sendable () throws -> TimedFrame?,
        isStopped: @escaping @Sendable () -> Bool = { false },
        isAborted: @escaping @Sendable () -> Bool = { false },
        cancel: @escaping @Sendable () -> Void = {}
    ) {
        self.next = next
        self.isStopped = isStopped
        self.isAborted = isAborted
        self.cancel = cancel
    }
}

extension VideoStream {
    /// Runs the stream to its end with its stages running concurrently, each on its own thread.
    ///
    /// This does the same work in less time, since one core works on the next chunk while another
    /// finishes the last one.
    ///
    /// - Parameter deliver: Called on this thread with each chunk; returning `false` ends the
    ///   stream.
    public func run(
        _ source: StreamSource,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let encoding = encoding
        try drive(
            { put in try encoding.encode(source, put: put) },
            isStopped: source.isStopped,
            isAborted: source.isAborted,
            cancel: source.cancel,
            deliver: deliver
        )
    }

    /// Generates at least `frames` frames from noise and the prompts, on threads as `run` does.
    ///
    /// - Parameter willStart: Called before each chunk with the index of its first frame.
    func generate(
        atLeast frames: Int,
        willStart: @escaping @Sendable (Int) throws -> Void,
        isStopped: @escaping @Sendable () -> Bool,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let encoding = encoding
        try drive(
            { put in
                try encoding.generate(
                    atLeast: frames,
                    willStart: willStart,
                    isStopped: isStopped,
                    put: put
                )
            },
            isStopped: isStopped,
            cancel: {},
            deliver: deliver
        )
    }

    private func drive(
        _ produce: @escaping ConcurrentStages<NoisedChunk, CleanChunk>.Produce,
        isStopped: @escaping @Sendable () -> Bool,
        isAborted: @escaping @Sendable () -> Bool = { false },
        cancel: () -> Void,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let (budget, denoising) = (budget, denoising)
        // The stages share the cores. If each used all of them, they would block each other.
        let half = budget.divided(by: 2)
        let stages = ConcurrentStages<NoisedChunk, CleanChunk>(
            names: ("swan.encode", "swan.denoise"),
            threadStarts: { budget.apply() },
            produce: produce,
            transform: { try denoising.denoise($0, isAborted: isAborted) },
            drain: { try denoising.drain(isAborted: isAborted) },
            // Until the first chunk has passed a stage, the stages after it are idle.
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
