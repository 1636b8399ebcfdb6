public import SwanMedia
import SwanSystem
import Torch

// What goes into a stream, from one stage to the next, and out of it.

/// A frame for a stream, and when it was captured.
public struct TimedFrame: Sendable {
    /// The picture.
    public let frame: VideoFrame
    /// From when its latency counts.
    public let captureTime: ContinuousClock.Instant

    /// A frame that was captured now, unless told otherwise.
    public init(_ frame: VideoFrame, captureTime: ContinuousClock.Instant = .now) {
        self.frame = frame
        self.captureTime = captureTime
    }
}

/// A chunk that waits to be denoised.
struct NoisedChunk: Sendable {
    /// [1, C, F, h, w]
    let latents: Tensor
    /// The timestep of the first step from this chunk on, if it changes.
    let firstTimestep: Int?
    /// Which prompt it is for: that of when the chunk was complete; see `StreamPrompts`.
    let prompt: Int
    let mark: ChunkMark
}

/// A chunk that waits to be decoded.
struct CleanChunk: Sendable {
    /// [1, C, F, h, w], normalised.
    let latents: Tensor
    let mark: ChunkMark
}

/// What travels with a chunk.
struct ChunkMark: Sendable {
    /// When each of the frames was captured that are wanted of it, the rest being padding; nil for all
    /// frames of a chunk that was made from noise.
    let captureTimes: [ContinuousClock.Instant]?
    /// When it was complete: when its last frame was captured, or its noise was made.
    let completion: ContinuousClock.Instant
    /// What it has cost.
    var seconds = StageSeconds()
}

/// The frames of a chunk, restyled.
public struct StreamedChunk: Sendable {
    /// One for each frame that went in.
    public let frames: [VideoFrame]
    /// When each frame was captured; empty for a chunk that was made from noise.
    public let captureTimes: [ContinuousClock.Instant]
    /// What the chunk has cost.
    public let seconds: StageSeconds
    /// Seconds from the capture of the chunk's last frame until its frames were finished.
    public let latency: Double
}

/// What time it is for a stream.
public struct StreamClock: Sendable {
    /// The time now.
    public let now: @Sendable () -> ContinuousClock.Instant

    /// A clock that says what `now` does.
    public init(now: @escaping @Sendable () -> ContinuousClock.Instant) { self.now = now }

    /// The system's.
    public static let continuous = StreamClock { .now }

    /// Seconds since a time.
    func seconds(since start: ContinuousClock.Instant) -> Double { (now() - start).seconds }
}
