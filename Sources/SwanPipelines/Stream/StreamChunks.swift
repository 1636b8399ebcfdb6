public import SwanMedia
import SwanSystem
import Torch

// The values that enter a stream, pass between its stages, and leave it.

/// A frame and the time of its capture.
public struct TimedFrame: Sendable {
    /// The frame.
    public let frame: VideoFrame
    /// The time from which latency is measured.
    public let captureTime: ContinuousClock.Instant

    /// Creates a timed frame; the default capture time is now.
    public init(_ frame: VideoFrame, captureTime: ContinuousClock.Instant = .now) {
        self.frame = frame
        self.captureTime = captureTime
    }
}

/// A chunk to be denoised.
struct NoisedChunk: Sendable {
    /// [1, C, F, h, w]
    let latents: Tensor
    /// The timestep of the first step from this chunk on, if it changes.
    let firstTimestep: Int?
    /// The number of the prompt that was current when the chunk was completed; see `StreamPrompts`.
    let prompt: Int
    let mark: ChunkMark
}

/// A chunk to be decoded.
struct CleanChunk: Sendable {
    /// [1, C, F, h, w], normalized.
    let latents: Tensor
    let mark: ChunkMark
}

/// The metadata that accompanies a chunk through the stages.
struct ChunkMark: Sendable {
    /// The capture times of the chunk's output frames, without padding; `nil` for a chunk that was
    /// generated from noise, of which all frames are output.
    let captureTimes: [ContinuousClock.Instant]?
    /// The time at which the chunk's last frame was captured or its noise was drawn.
    let completion: ContinuousClock.Instant
    /// Whether the chunk is the first of a shot, without a past; see
    /// `StreamConfiguration.shotFrames`. The first chunk of noise is one in any stream.
    var startsShot = false
    /// Whether the chunk is the first after a cut of the input, so that nothing before it counts.
    var startsScene = false
    /// The decoded frames before the first that is shown.
    var leadFrames = 0
    /// How the shown frames follow the decoded ones, see `Stillness`; empty to show them as they are.
    var shares: [Tensor] = []
    /// Whether it is the last one, so that its keys are of no use.
    var endsShot = false
    /// The time spent in each stage.
    var seconds = StageSeconds()
}

/// The restyled frames of a chunk.
public struct StreamedChunk: Sendable {
    /// One frame for each input frame.
    public let frames: [VideoFrame]
    /// The capture time of each frame; empty for a chunk generated from noise.
    public let captureTimes: [ContinuousClock.Instant]
    /// The time spent in each stage.
    public let seconds: StageSeconds
    /// The seconds from the capture of the chunk's last frame until its frames were decoded.
    public let latency: Double
}

/// The clock by which a stream measures time.
public struct StreamClock: Sendable {
    /// Returns the current time.
    public let now: @Sendable () -> ContinuousClock.Instant

    /// Creates a clock that reads the time from `now`.
    public init(now: @escaping @Sendable () -> ContinuousClock.Instant) { self.now = now }

    /// The system's continuous clock.
    public static let continuous = StreamClock { .now }

    /// The seconds elapsed since `start`.
    func seconds(since start: ContinuousClock.Instant) -> Double { (now() - start).seconds }
}
