import Foundation
package import SwanMedia
package import SwanText

/// A frame for a stream that shares its model, not decoded yet: frames that are dropped cost nothing.
package struct SharedFrame: Sendable {
    /// The sender's number of the frame.
    package let sequence: UInt32
    /// The time of capture by the sender's clock, in microseconds.
    package let captureTime: UInt64
    /// When the frame arrived.
    package let arrival: ContinuousClock.Instant
    private let picture: LatePicture

    /// Creates a frame that arrives now.
    package init(
        sequence: UInt32,
        captureTime: UInt64 = 0,
        arrival: ContinuousClock.Instant = .now,
        decode: @escaping @Sendable () throws -> VideoFrame
    ) {
        self.sequence = sequence
        self.captureTime = captureTime
        self.arrival = arrival
        picture = LatePicture(decode)
    }

    /// Whether the picture has been decoded, or could not be.
    var isDecoded: Bool { picture.isMade }

    /// Returns the picture, which is decoded once.
    func decode() throws -> VideoFrame { try picture.get() }
}

/// A picture that is decoded when it is asked for first.
private final class LatePicture: @unchecked Sendable {
    private let make: @Sendable () throws -> VideoFrame
    // Protected by `lock`.
    private let lock = NSLock()
    private var made: Result<VideoFrame, any Error>?

    init(_ make: @escaping @Sendable () throws -> VideoFrame) { self.make = make }

    var isMade: Bool { lock.withLock { made != nil } }

    func get() throws -> VideoFrame {
        try lock.withLock {
            let result = made ?? Result(catching: make)
            made = result
            return result
        }.get()
    }
}

/// A restyled frame, with what its input frame carried.
package struct RestyledFrame: Sendable {
    /// The picture.
    package let frame: VideoFrame
    /// The number of the input frame.
    package let sequence: UInt32
    /// The capture time of the input frame.
    package let captureTime: UInt64
    /// When the input frame arrived.
    package let arrival: ContinuousClock.Instant
}

/// The restyled frames of a chunk.
package struct RestyledChunk: Sendable {
    /// The frames, in order.
    package let frames: [RestyledFrame]
    /// The chunk's index in the stream.
    package let index: Int
    /// The newest change that shaped it.
    package let event: UInt32
    /// The time spent in each stage.
    package let seconds: StageSeconds
    /// The seconds from the arrival of the chunk's last frame until its frames were decoded.
    package let latency: Double
    /// Whether it was done after its deadline: two chunks' time after the arrival of its last frame, and in a
    /// stream batch one more for each further step. Streams that keep all frames have no deadlines.
    package let isLate: Bool
    /// Whether its steps ran as rows of a stream batch.
    package let usesBatch: Bool
}

/// What a stream that shares its model reports.
package enum SharedStreamReport: Sendable {
    /// A chunk is done.
    case chunk(RestyledChunk)
    /// A change takes effect with the chunk of this index.
    case applied(event: UInt32, chunk: Int, issues: [PromptIssue])
    /// A change was refused; the stream goes on without it.
    case refused(event: UInt32, any Error)
    /// A frame could not be decoded and was skipped.
    case skipped(sequence: UInt32, any Error)
    /// The stream has ended: after its last frame, or with an error.
    case ended((any Error)?)
}
