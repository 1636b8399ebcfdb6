import Torch

/// Decodes chunks and reports their frames.
extension SharedStreams {
    func decodeChunks() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(where: \.canDecode, due: \.decodingDeadline) { state in
                guard !state.clean.isEmpty else { return (state, nil as (CleanChunk, ChunkTag)?) }
                state.isDecoding = true
                let first = state.clean.removeFirst()
                return (state, (first.chunk, first.tag))
            }
            guard let (state, chunk) = job else { return }
            guard let (clean, tag) = chunk else {
                end(state.stream, nil)
                continue
            }
            do {
                try decode(state.stream, clean, tag)
            } catch {
                end(state.stream, error)
            }
        }
    }

    private func decode(_ stream: SharedStream, _ clean: CleanChunk, _ tag: ChunkTag) throws {
        let start = clock.now()
        let done = try tag.stages.decoding.decode(clean)
        report(done, stream, tag)
        let seconds = clock.seconds(since: start)
        update(stream) { state in
            state.isDecoding = false
            let pixels = state.options.width * state.options.height * done.frames.count
            capacity.follow(decoding: pixels, took: seconds)
        }
    }

    /// Reports the frames of a chunk.
    func report(_ done: StreamedChunk, _ stream: SharedStream, _ tag: ChunkTag) {
        let isLate = done.latency > tag.allowance
        var origins: [SharedFrame] = []
        update(stream) { state in
            origins = Array(state.underway.prefix(done.frames.count))
            state.underway.removeFirst(origins.count)
            state.returned += origins.count
            state.count(isLate: isLate, latency: done.latency, at: clock.now())
        }
        let frames = zip(done.frames, origins).map { frame, origin in
            RestyledFrame(
                frame: frame,
                sequence: origin.sequence,
                captureTime: origin.captureTime,
                arrival: origin.arrival
            )
        }
        stream.report(
            .chunk(
                RestyledChunk(
                    frames: frames,
                    index: tag.index,
                    event: tag.event,
                    seconds: done.seconds,
                    latency: done.latency,
                    isLate: isLate,
                    usesBatch: tag.usesBatch
                )
            )
        )
    }
}
