import SwanCheckpoints
import SwanMedia
import Torch

/// Collects frames into chunks, encodes them and mixes in noise.
extension SharedStreams {
    private enum EncodingJob {
        case chunk(SharedStreamState, PreparedChange?, [SharedFrame])
        /// A frame that waits for the rest of its chunk.
        case frame(SharedFrame)
    }

    func encodeChunks() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(
                where: \.canEncode,
                due: \.encodingDeadline,
                idle: { $0.nextUndecoded.map(EncodingJob.frame) }
            ) { state in
                state.isEncoding = true
                let change = state.prepared
                state.prepared = nil
                let frames = state.takeFrames()
                // Uses the load of this moment.
                if state.mode == .auto { _ = state.automatic.next(load()) }
                return EncodingJob.chunk(state, change, frames)
            }
            switch job {
            case .chunk(let state, let change, let frames): encodeChunk(state, change, frames)
            // A picture that cannot be decoded is reported with its chunk.
            case .frame(let frame): _ = try? frame.decode()
            case nil: return
            }
        }
    }

    private func encodeChunk(
        _ state: SharedStreamState,
        _ change: PreparedChange?,
        _ frames: [SharedFrame]
    ) {
        do {
            switch engine {
            case .model: try encode(state, change, frames)
            case .passthrough: try passThrough(state, change, frames)
            }
        } catch {
            end(state.stream, error)
        }
    }

    /// Encodes the next chunk of a stream.
    ///
    /// - Parameters:
    ///   - before: The stream's state before the chunk.
    ///   - frames: Frames for the chunk; fewer than it needs at the end of the stream.
    private func encode(
        _ before: SharedStreamState,
        _ change: PreparedChange?,
        _ frames: [SharedFrame]
    ) throws {
        var state = before
        let stream = state.stream
        var lost = 0
        if let change {
            if state.beginsAnew(with: change.change) { lost = state.stages.encoding.framesLeft }
            try apply(change, to: &state)
            stream.report(change.applied(at: state.chunks))
        }
        let (text, isNew) = try inference { try state.mix.next(model.transformer) }
        if isNew { state.stages.prompts.change(to: text) }
        let start = clock.now()
        let (chunk, used) = try collect(frames, &state)
        let tagged = chunk.map { tag($0, used, &state) }
        let seconds = clock.seconds(since: start)
        state.framesNeeded = state.stages.encoding.framesNeeded
        let done = state
        update(stream) { state in
            state.isEncoding = false
            // Frames whose chunk was not complete before a reset.
            state.underway.removeLast(min(lost, state.underway.count))
            state.dropped += lost
            state.underway += used
            state.adopt(done)
            state.noised = tagged
            state.isEncoded = done.isFinishing && tagged == nil
            guard chunk != nil, !stream.generates else { return }
            let pixels = done.options.width * done.options.height * frames.count
            capacity.follow(encoding: pixels, took: seconds)
        }
    }

    /// Makes the next chunk of frames, or of noise; nil if there are too few frames for one.
    ///
    /// - Returns: The chunk, and the frames that came into it, or that will come out of it.
    private func collect(
        _ frames: [SharedFrame],
        _ state: inout SharedStreamState
    ) throws -> (NoisedChunk?, used: [SharedFrame]) {
        let (stream, encoding) = (state.stream, state.stages.encoding)
        guard !stream.generates else {
            guard !state.isFinishing else { return (nil, []) }
            let noise = try encoding.noise()
            return (noise, state.nextGenerated(startsShot: noise.mark.startsShot))
        }
        var chunk: NoisedChunk?
        var used: [SharedFrame] = []
        for frame in frames {
            guard let picture = decoded(frame, stream) else { continue }
            used.append(frame)
            chunk = try encoding.add(TimedFrame(picture, captureTime: frame.arrival))
        }
        if chunk == nil, state.isFinishing { chunk = try encoding.finish() }
        return (chunk, used)
    }

    private func tag(
        _ chunk: NoisedChunk,
        _ used: [SharedFrame],
        _ state: inout SharedStreamState
    ) -> TaggedChunk {
        switch state.mode {
        case .auto:
            // Only the rows of a stream batch keep several ranks busy.
            state.options.settings.streamBatch = ranks != nil || state.automatic.usesBatch
        case .steps: state.options.settings.streamBatch = false
        case .batch: state.options.settings.streamBatch = true
        }
        // Newer chunks wait for the clean content of older ones.
        let waits = state.options.configuration.contextNoise != nil
        if waits { state.options.settings.streamBatch = false }
        let steps = state.options.configuration.steps.count
        let pipeline = ranks?.stageCount ?? 1
        let delay = state.options.settings.streamBatch ? pipeline * (steps - 1) : 0
        let stream = state.stream
        let isLive = stream.dropsFrames
        let tag = ChunkTag(
            stages: state.stages,
            index: state.chunks,
            event: state.event,
            arrival: isLive ? used.first?.arrival ?? clock.now() : clock.now(),
            allowance: isLive ? Double(2 + delay) * stream.chunkSeconds : .infinity,
            usesBatch: state.options.settings.streamBatch
        )
        defer {
            state.chunks += 1
            state.isReset = false
        }
        return TaggedChunk(
            noised: chunk,
            tag: tag,
            embeddings: state.mix.current,
            options: state.options,
            resets: state.isReset
        )
    }

    /// The picture of a frame; nil if it cannot be decoded, which is reported.
    func decoded(_ frame: SharedFrame, _ stream: SharedStream) -> VideoFrame? {
        do {
            return try frame.decode()
        } catch {
            stream.report(.skipped(sequence: frame.sequence, error))
            return nil
        }
    }

    private func apply(
        _ prepared: PreparedChange,
        to state: inout SharedStreamState
    ) throws {
        let change = prepared.change
        let beginsAnew = state.beginsAnew(with: change)
        if change.event != 0 { state.event = change.event }
        if let steps = change.steps {
            state.options.configuration.steps = model.configuration.steps
            try state.options.configuration.keepSteps(steps)
        }
        state.mode = change.mode ?? state.mode
        if let scale = change.noiseScale { state.options.configuration.noiseScale = scale }
        if let isFixed = change.fixedNoise { state.options.settings.fixedNoise = isFixed }
        if let seed = change.seed { state.options.settings.seed = seed }
        if let fit = change.fit { state.options.fit = fit }
        if change.width != nil || change.height != nil {
            state.options.resize(width: change.width, height: change.height)
        }
        if let embeddings = prepared.embeddings {
            state.mix.turn(to: embeddings, over: change.transition)
        }
        if beginsAnew {
            let text = try inference { try state.mix.next(model.transformer).text }
            state.stages = try inference {
                try SharedStages(model, state.options, text, clock)
            }
            state.isReset = true
        } else {
            try state.stages.encoding.change(
                noiseScale: change.noiseScale,
                fixedNoise: change.fixedNoise,
                seed: change.seed,
                fit: change.fit
            )
        }
    }
}
