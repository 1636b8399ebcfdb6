import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTraining
import Synchronization
import Torch
import SwanCheckpoints
import SwanModels

/// A stream over a clip, run as in `swan stream`, whose output is measured.
struct MeasuredStream {
    /// A chunk of output.
    struct Chunk {
        /// The index of the chunk in the stream.
        let number: Int
        /// The index in the stream of the chunk's first frame.
        let first: Int
        /// The indices of the clip's frames that it was generated from.
        let sources: [Int]
        /// [T, 3, H, W] in [0, 1]
        let output: Tensor
    }

    let model: StreamModel
    let options: StreamOptions

    /// The number of frames per chunk; the first chunk may have one more.
    var chunkFrames: Int {
        model.vae.temporalStride * options.configuration.framesPerBlock
    }

    /// Returns the index in the stream of the first frame of chunk `number`.
    func firstFrame(ofChunk number: Int) -> Int {
        number == 0 ? 0 : model.firstChunkFrames + chunkFrames * (number - 1)
    }

    /// Streams `count` frames.
    ///
    /// - Parameters:
    ///   - clip: The clip.
    ///   - count: The number of frames.
    ///   - order: Maps the index of a frame in the stream to that of a frame in the clip.
    ///   - prompts: The prompts, by the frame at which each begins; one begins at 0.
    ///   - take: Called with each chunk.
    func run(
        _ clip: QualityClip,
        count: Int,
        order: @escaping @Sendable (Int) -> Int = { $0 },
        prompts: [Int: String],
        take: (Chunk) throws -> Void
    ) throws {
        var options = options
        // Measures count chunks.
        options.settings.cuts = .off
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
