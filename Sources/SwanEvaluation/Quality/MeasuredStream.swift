import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTraining
import Synchronization
import Torch
import SwanCheckpoints
import SwanModels

/// A stream over a clip as `swan stream` runs it, for measuring what comes out.
struct MeasuredStream {
    /// What comes out at a time.
    struct Chunk {
        /// Its number in the stream.
        let number: Int
        /// The stream's first frame in it.
        let first: Int
        /// The clip's frames that it was made of.
        let sources: [Int]
        /// [T, 3, H, W] in [0, 1]
        let output: Tensor
    }

    let model: StreamModel
    let options: StreamOptions

    /// Frames of a chunk; the first has one more.
    var chunkFrames: Int {
        model.vae.temporalStride * options.configuration.framesPerBlock
    }

    /// The stream's first frame in chunk `number`.
    func firstFrame(ofChunk number: Int) -> Int { number == 0 ? 0 : 1 + chunkFrames * number }

    /// Streams `count` frames.
    ///
    /// - Parameters:
    ///   - order: the clip's frame for each of the stream's.
    ///   - prompts: by the frame that they begin at; one begins at 0.
    ///   - take: called with each chunk.
    func run(
        _ clip: QualityClip,
        count: Int,
        order: @escaping @Sendable (Int) -> Int = { $0 },
        prompts: [Int: String],
        take: (Chunk) throws -> Void
    ) throws {
        let stream = try VideoStream(model, prompt: prompts[0] ?? "", options: options)
        var number = 0
        var first = 0
        let source = StreamSource(next: {
            let index = stream.framesIn
            guard index < count else { return nil }
            if index > 0, let prompt = prompts[index] { try stream.setPrompt(prompt) }
            return TimedFrame(try clip.frame(order(index)))
        })
        try stream.run(source) { streamed in
            let frames = streamed.frames
            guard !frames.isEmpty else { return true }
            let output = try concatenated(
                frames.map { frame throws(SwanError) in try Footage.pixels(of: frame) }
            )
            let chunk = Chunk(
                number: number,
                first: first,
                sources: (first..<(first + frames.count)).map(order),
                output: try PixelMath.values(output)
            )
            number += 1
            first += frames.count
            try take(chunk)
            return true
        }
    }
}
