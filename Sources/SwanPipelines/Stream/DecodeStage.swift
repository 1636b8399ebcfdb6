import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Torch

/// Clean latents to frames; knows how long chunks took.
final class DecodeStage: Sendable {
    private struct State: ~Copyable {
        let decoder: any VideoDecoder
        var framesOut = 0
        var seconds = 0.0
        var latencies = LatencyHistogram()
    }

    private let options: StreamOptions
    private let clock: StreamClock
    private let state: Mutex<State>

    init(
        _ model: StreamModel,
        options: StreamOptions,
        clock: StreamClock
    ) throws(SwanError) {
        self.options = options
        self.clock = clock
        state = Mutex(State(decoder: try model.vae.makeDecoder()))
    }

    var framesOut: Int { state.withLock { $0.framesOut } }
    var seconds: Double { state.withLock { $0.seconds } }
    /// From the capture of each chunk's last frame until its frames were finished.
    var latencies: LatencyHistogram { state.withLock { $0.latencies } }

    func decode(_ chunk: CleanChunk) throws -> StreamedChunk {
        try state.withLock { state in
            let start = clock.now()
            let frames = try inference {
                // The transformer's results are normalised, whatever its input was.
                let video = try state.decoder.decode(chunk.latents)
                // As bytes they would be black. Their device is waited for now anyway.
                guard try video.isAllFinite() else {
                    throw SwanError(
                        .invalidWeights,
                        "the model's frames are not finite (NaN or infinite), though all of its weights "
                            + "are: their numbers are far from those of a trained model, or leave the "
                            + "range of its dtype (try float32)"
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
            let wanted = frames.prefix(chunk.mark.captureTimes?.count ?? .max)
            state.framesOut += wanted.count
            return StreamedChunk(
                frames: wanted.map(framed),
                captureTimes: chunk.mark.captureTimes ?? [],
                seconds: seconds,
                latency: latency
            )
        }
    }

    /// A frame with black bars, where the output is to have some.
    private func framed(_ frame: VideoFrame) -> VideoFrame {
        guard let width = options.outputWidth, let height = options.outputHeight else {
            return frame
        }
        return frame.centered(width: width, height: height)
    }
}
