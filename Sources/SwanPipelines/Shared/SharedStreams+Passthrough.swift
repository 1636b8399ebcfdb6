import SwanMedia
import Torch

extension SharedStreams {
    /// What makes the frames that streams return.
    package enum Engine: String, Sendable, CaseIterable {
        /// The model.
        case model
        /// Nothing: frames return as they came, a chunk at a time, so that all else can be measured.
        case passthrough
    }

    /// Returns frames for a chunk as they are, fitted to the output's size.
    ///
    /// - Parameters:
    ///   - before: The stream's state before the chunk.
    ///   - frames: Frames for the chunk; fewer than it needs at the end of the stream.
    func passThrough(
        _ before: SharedStreamState,
        _ change: PreparedChange?,
        _ frames: [SharedFrame]
    ) throws {
        var state = before
        let stream = state.stream
        if let change {
            if change.change.event != 0 { state.event = change.change.event }
            if let fit = change.change.fit { state.options.fit = fit }
            stream.report(change.applied(at: state.chunks))
        }
        let start = clock.now()
        var returned: [RestyledFrame] = []
        for frame in frames {
            guard let picture = decoded(frame, stream) else { continue }
            returned.append(
                RestyledFrame(
                    frame: try fitted(picture, state.options),
                    sequence: frame.sequence,
                    captureTime: frame.captureTime,
                    arrival: frame.arrival
                )
            )
        }
        let index = state.chunks
        if !returned.isEmpty { state.chunks += 1 }
        state.framesNeeded = state.framesPerChunk
        let (done, count) = (state, returned.count)
        update(stream) { state in
            state.isEncoding = false
            state.adopt(done)
            state.returned += count
            state.isEncoded = done.isFinishing && state.inbox.isEmpty
            state.isDrained = state.isEncoded
        }
        guard let last = returned.last else { return }
        var seconds = StageSeconds()
        seconds.encode = clock.seconds(since: start)
        let latency = clock.seconds(since: last.arrival)
        let chunk = RestyledChunk(
            frames: returned,
            index: index,
            event: done.event,
            seconds: seconds,
            latency: latency,
            isLate: latency > 2 * stream.chunkSeconds,
            usesBatch: false
        )
        stream.report(.chunk(chunk))
    }

    private func fitted(_ frame: VideoFrame, _ options: StreamOptions) throws -> VideoFrame {
        guard frame.width != options.width || frame.height != options.height else { return frame }
        let fitted = try inference {
            try SwanPipelines.frames(
                of: tensor(
                    of: [frame],
                    height: options.height,
                    width: options.width,
                    fit: options.fit,
                    pixelAspect: options.pixelAspect,
                    dtype: .float32,
                    device: .cpu
                )
            )
        }
        return fitted.first ?? frame
    }
}
