import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Torch

/// Decodes clean latents to frames and records the latency of chunks.
final class DecodeStage: Sendable {
    private struct State: ~Copyable {
        var decoder: any VideoDecoder
        var framesOut = 0
        var seconds = 0.0
        var latencies = LatencyHistogram()
    }

    private let vae: any VideoAutoencoder
    private let options: StreamOptions
    private let clock: StreamClock
    private let state: Mutex<State>
    private let shown = ShownFrames()

    init(
        _ vae: any VideoAutoencoder,
        options: StreamOptions,
        clock: StreamClock
    ) throws(SwanError) {
        self.vae = vae
        self.options = options
        self.clock = clock
        state = Mutex(State(decoder: try vae.makeDecoder()))
    }

    var framesOut: Int { state.withLock { $0.framesOut } }
    var seconds: Double { state.withLock { $0.seconds } }
    /// The time from the capture of each chunk's last frame until its frames were decoded.
    var latencies: LatencyHistogram { state.withLock { $0.latencies } }

    func decode(_ chunk: CleanChunk) throws -> StreamedChunk {
        try state.withLock { state in
            let start = clock.now()
            let frames = try inference {
                if chunk.mark.startsShot || chunk.mark.startsScene {
                    state.decoder = try vae.makeDecoder()
                }
                // The transformer's output is normalized, whatever its input was.
                let video = try state.decoder.decode(chunk.latents)
                // Non-finite values would become black bytes. Decoding waits for the device anyway.
                guard try video.isAllFinite() else {
                    throw SwanError(
                        .invalidWeights,
                        "the model's frames are not finite (NaN or infinite), although all of its "
                            + "weights are; the weights are far from those of a trained model, or "
                            + "values exceed the range of the dtype (try float32)"
                    )
                }
                return try SwanPipelines.frames(of: video)
            }
            let end = clock.now()
            var seconds = chunk.mark.seconds
            seconds.decode = (end - start).seconds
            state.seconds += seconds.decode
            let latency = (end - chunk.mark.completion).seconds
            state.latencies.add(latency)
            let wanted = try shown(frames.map(framed), chunk.mark)
            state.framesOut += wanted.count
            return StreamedChunk(
                frames: wanted,
                captureTimes: chunk.mark.captureTimes ?? [],
                seconds: seconds,
                latency: latency
            )
        }
    }

    /// The frames to show of a chunk that another rank has decoded.
    func show(_ frames: [VideoFrame], _ mark: ChunkMark) throws(SwanError) -> [VideoFrame] {
        try shown(frames, mark)
    }

    /// The frame with black bars added, if the output is larger than the model's frames.
    private func framed(_ frame: VideoFrame) -> VideoFrame {
        guard let width = options.outputWidth, let height = options.outputHeight else {
            return frame
        }
        return frame.centered(width: width, height: height)
    }
}
