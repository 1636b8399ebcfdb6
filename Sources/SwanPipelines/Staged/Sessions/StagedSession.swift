import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanSystem
import SwanThreads
import Torch

/// Rank 0's side of one session's stream; used by one thread.
final class StagedSession {
    /// The frames of a chunk, with padding.
    struct Decoded: Sendable {
        let frames: [VideoFrame]
        /// The seconds that decoding took.
        let seconds: Double
    }

    private let staged: StagedStream
    private let chunks, frames: StagePost.Queue
    private var terms: StagedTerms
    /// The number of the text that was sent last.
    private var text: Int?

    init(_ staged: StagedStream, _ options: StreamOptions) throws(SwanError) {
        self.staged = staged
        terms = StagedTerms(options)
        (chunks, frames) = try staged.outside
    }

    /// What ended the stream early, once something did.
    var failure: (any Error)? { staged.failure }

    /// Starts to deliver chunks.
    func start(_ deliver: @escaping @Sendable (Decoded) -> Void) throws {
        let frames = frames
        try staged.startThread("swan.frames") {
            while let message = frames.take(), message.kind == .frames {
                let (pictures, seconds) = try message.decodedFrames()
                deliver(Decoded(frames: pictures, seconds: seconds))
            }
        }
    }

    /// Sends a chunk, after what it is the first to have: other steps, other noise, another text.
    ///
    /// - Parameter embeddings: The text of the chunk, [1, T, textDim].
    func add(_ chunk: NoisedChunk, _ options: StreamOptions, embeddings: Tensor) throws {
        let wanted = StagedTerms(options)
        if wanted != terms {
            try send(wanted.message())
            terms = wanted
        }
        if text != chunk.prompt {
            var message = StageMessage(.text)
            (message.number, message.tensors) = (chunk.prompt, [embeddings])
            try send(message)
            text = chunk.prompt
        }
        staged.note(encoding: chunk.mark.seconds.encode)
        try send(StageMessage(chunk))
    }

    private func send(_ message: StageMessage) throws {
        guard chunks.put(message) else {
            throw failure ?? SwanError(.peerFailed, "the ranks accept no more chunks")
        }
    }

    /// Ends the stream on all ranks, and waits until all chunks under way were delivered or dropped.
    func end(dropping: Bool) throws {
        var end = StageMessage(.end)
        end.mark = dropping ? 1 : 0
        _ = chunks.put(end)
        try staged.finish()
    }
}

extension StageMessage {
    /// A chunk for the first stage.
    init(_ chunk: NoisedChunk) {
        self.init(.chunk)
        mark = chunk.mark.startsScene ? 1 : 0
        tensors = [chunk.latents]
        rows = [
            StageMessage.Row(
                chunk: 0,
                start: 0,
                step: 0,
                firstTimestep: chunk.firstTimestep.map(Double.init) ?? -1,
                prompt: chunk.prompt
            )
        ]
    }
}
