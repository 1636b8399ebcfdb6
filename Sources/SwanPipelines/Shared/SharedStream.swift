import SwanCheckpoints
import SwanModels

/// One of the streams that share a model; see `SharedStreams`.
///
/// Frames are dropped before any work is done on them: while the stream is busy, only the newest
/// frames of a chunk are kept.
package final class SharedStream: Sendable {
    /// The number of the stream, unique in its `SharedStreams`.
    package let id: Int
    /// The stream's options when it joined.
    package let options: StreamOptions
    /// The time that a chunk of frames lasts at the sender's rate, in seconds.
    package let chunkSeconds: Double
    /// The rate at which the sender adds frames, or wants them.
    package let framesPerSecond: Double
    /// Whether the stream has no input.
    package let generates: Bool
    let dropsFrames: Bool
    let report: @Sendable (SharedStreamReport) -> Void
    private let host: SharedStreams

    init(
        id: Int,
        _ host: SharedStreams,
        _ request: SharedStreamRequest,
        report: @escaping @Sendable (SharedStreamReport) -> Void
    ) {
        self.id = id
        self.host = host
        self.report = report
        options = request.options
        framesPerSecond = request.framesPerSecond
        generates = request.generates
        dropsFrames = request.dropsFrames
        chunkSeconds = Double(host.framesPerChunk) / framesPerSecond
    }

    /// Adds a frame. If the stream is busy, the oldest waiting frame is dropped.
    ///
    /// - Returns: `false` if the stream has ended.
    @discardableResult
    package func put(_ frame: SharedFrame) -> Bool { host.put(frame, into: self) }

    /// The stream's options, with the changes that its chunks have so far.
    package var currentOptions: StreamOptions { host.options(of: self) }

    /// Asks a stream without an input for its next chunk; one request can wait.
    package func generate() { host.generate(self) }

    /// Changes settings from the next chunk on. Of changes that wait, the latest wins.
    package func change(_ change: StreamChange) { host.change(self, change) }

    /// Restyles the frames that are left, without dropping any, and ends the stream.
    package func finish() { host.finish(self) }

    /// Ends the stream at once; chunks in flight are dropped.
    package func leave() { host.leave(self) }

    /// The frames that came in, that were dropped before any work, and that came out.
    package var counts: (received: Int, dropped: Int, returned: Int) { host.counts(of: self) }
}
