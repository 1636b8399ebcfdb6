import Foundation
import SwanCheckpoints
import SwanMedia
import SwanModels
package import SwanSystem
package import SwanText
import SwanThreads
package import Torch

/// Streams of several users on one model.
///
/// Each stream has its own prompt, seed, steps, noise, clock and KV cache rows, and joins and leaves
/// at a chunk boundary. Three threads serve all of them: one encodes, one denoises, one decodes; each
/// takes the chunk with the earliest deadline. Denoising steps of streams of one size share forward
/// passes, so a stream gets what it would get alone, to rounding.
package final class SharedStreams: @unchecked Sendable {
    /// The model.
    package let model: StreamModel
    let clock: StreamClock
    private let engine: Engine
    private let budget: ComputeBudget
    private let threads = WorkerThreads()

    // Everything below is protected by `condition`.
    private let condition = NSCondition()
    private var streams: [Int: SharedStreamState] = [:]
    private var nextID = 0
    private var isOpen = true

    /// Starts the threads of an empty host.
    ///
    /// - Parameters:
    ///   - engine: What makes the frames.
    ///   - budget: The CPU resources that all streams may use together.
    package init(
        _ model: StreamModel,
        engine: Engine = .model,
        budget: ComputeBudget = .current,
        clock: StreamClock = .continuous
    ) throws(SwanError) {
        self.model = model
        self.engine = engine
        self.budget = budget
        self.clock = clock
        try threads.start("swan.text") { [self] in prepareChanges() }
        try threads.start("swan.encode") { [self] in encodeChunks() }
        try threads.start("swan.denoise") { [self] in denoise() }
        try threads.start("swan.decode") { [self] in decodeChunks() }
    }

    /// The number of frames of a chunk; a stream's first chunk has one more.
    package var framesPerChunk: Int {
        model.vae.temporalStride * model.configuration.framesPerBlock
    }

    /// The number of streams.
    package var count: Int { condition.withLock { streams.count } }

    /// Ends all streams and waits for the threads.
    package func close() {
        let ended: [SharedStream] = condition.withLock {
            isOpen = false
            let all = streams.values.map(\.stream)
            streams = [:]
            condition.broadcast()
            return all
        }
        for stream in ended { stream.report(.ended(nil)) }
        threads.wait()
    }

    // MARK: - Streams

    /// Adds a stream, which begins with its first frames.
    ///
    /// - Parameters:
    ///   - framesPerSecond: The rate at which the sender will add frames.
    ///   - event: The number that identifies these settings in the first chunks.
    ///   - report: Called on the host's threads, in order; must not block.
    /// - Returns: The stream, and what had to be changed in its prompt.
    package func join(
        prompts: [StreamChange.WeightedPrompt],
        options: StreamOptions,
        framesPerSecond: Double,
        event: UInt32 = 0,
        report: @escaping @Sendable (SharedStreamReport) -> Void
    ) throws -> (stream: SharedStream, issues: [PromptIssue]) {
        try model.check(height: options.height, width: options.width)
        let half = budget.divided(by: 2)
        let (embeddings, issues) = try half.run {
            try inference { try model.embeddings(of: prompts) }
        }
        let id = condition.withLock {
            nextID += 1
            return nextID
        }
        let stream = SharedStream(
            id: id,
            self,
            options: options,
            framesPerSecond: framesPerSecond,
            report: report
        )
        let state = try half.run {
            try inference {
                try SharedStreamState(stream, model, embeddings, event: event, clock)
            }
        }
        try condition.withLock {
            guard isOpen else { throw SwanError(.interrupted, "the server is shutting down") }
            streams[id] = state
        }
        return (stream, issues)
    }

    func put(_ frame: SharedFrame, into stream: SharedStream) -> Bool {
        condition.withLock {
            guard streams[stream.id]?.isFinishing == false else { return false }
            streams[stream.id]?.add(frame)
            condition.broadcast()
            return true
        }
    }

    func change(_ stream: SharedStream, _ change: StreamChange) {
        update(stream) { state in
            if state.requested == nil {
                state.requested = change
            } else {
                state.requested?.merge(change)
            }
        }
    }

    func finish(_ stream: SharedStream) { update(stream) { $0.isFinishing = true } }

    func leave(_ stream: SharedStream) { end(stream, nil) }

    func counts(of stream: SharedStream) -> (received: Int, dropped: Int, returned: Int) {
        condition.withLock {
            let state = streams[stream.id]
            return (state?.received ?? 0, state?.dropped ?? 0, state?.returned ?? 0)
        }
    }

    /// Whether all complete chunks and all changes that a stream was given are on their way.
    func isIdle(_ stream: SharedStream) -> Bool {
        condition.withLock {
            guard let state = streams[stream.id] else { return true }
            return state.inbox.count < state.framesNeeded && state.noised == nil
                && state.requested == nil && !state.isEncoding && !state.isPreparing
        }
    }

    private func end(_ stream: SharedStream, _ error: (any Error)?) {
        let wasThere = condition.withLock {
            defer { condition.broadcast() }
            return streams.removeValue(forKey: stream.id) != nil
        }
        if wasThere { stream.report(.ended(error)) }
    }

    /// Waits for a stream that `isReady` and passes the one with the earliest deadline to `take`.
    ///
    /// - Returns: nil when the host is closed.
    private func next<Job>(
        where isReady: (SharedStreamState) -> Bool,
        take: (inout SharedStreamState) -> Job
    ) -> Job? {
        condition.withLock {
            while isOpen {
                let ready = streams.values.filter(isReady)
                if let first = ready.min(by: { $0.deadline < $1.deadline }),
                    var state = streams[first.stream.id]
                {
                    let job = take(&state)
                    streams[state.stream.id] = state
                    return job
                }
                condition.wait()
            }
            return nil
        }
    }

    func update(_ stream: SharedStream, _ body: (inout SharedStreamState) -> Void) {
        condition.withLock {
            guard var state = streams[stream.id] else { return }
            body(&state)
            streams[stream.id] = state
            condition.broadcast()
        }
    }

    // MARK: - Text

    /// Encodes the prompts of changes; of changes that come meanwhile, the latest wins.
    private func prepareChanges() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(where: { $0.requested != nil && !$0.isPreparing }) { state in
                state.isPreparing = true
                defer { state.requested = nil }
                return (state.stream, state.options, state.requested ?? StreamChange())
            }
            guard let (stream, options, change) = job else { return }
            do {
                let prepared = try prepared(change, options)
                update(stream) { state in
                    state.isPreparing = false
                    if state.prepared == nil {
                        state.prepared = prepared
                    } else {
                        state.prepared?.merge(prepared)
                    }
                }
            } catch {
                update(stream) { $0.isPreparing = false }
                stream.report(.refused(event: change.event, error))
            }
        }
    }

    private func prepared(
        _ change: StreamChange,
        _ options: StreamOptions
    ) throws -> PreparedChange {
        if let steps = change.steps {
            var configuration = model.configuration
            try configuration.keepSteps(steps)
        }
        guard let prompts = change.prompts else { return PreparedChange(change: change) }
        let (embeddings, issues) = try inference { try model.embeddings(of: prompts) }
        return PreparedChange(change: change, embeddings: embeddings, issues: issues)
    }

    // MARK: - Encoding

    private func encodeChunks() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(where: \.canEncode) { state in
                state.isEncoding = true
                let change = state.prepared
                state.prepared = nil
                let count = min(state.framesNeeded, state.inbox.count)
                let frames = Array(state.inbox.prefix(count))
                state.inbox.removeFirst(count)
                return (state, change, frames)
            }
            guard let (state, change, frames) = job else { return }
            do {
                switch engine {
                case .model: try encode(state, change, frames)
                case .passthrough: try passThrough(state, change, frames)
                }
            } catch {
                end(state.stream, error)
            }
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
            if change.change.resets { lost = state.stages.encoding.framesLeft }
            try apply(change, to: &state)
            stream.report(.applied(event: state.event, chunk: state.chunks, issues: change.issues))
        }
        let (text, isNew) = try inference { try state.mix.next(model.transformer) }
        if isNew { state.stages.prompts.change(to: text) }
        var chunk: NoisedChunk?
        var used: [SharedFrame] = []
        for frame in frames {
            guard let picture = decoded(frame, stream) else { continue }
            used.append(frame)
            chunk = try state.stages.encoding.add(TimedFrame(picture, captureTime: frame.arrival))
        }
        if chunk == nil, before.isFinishing { chunk = try state.stages.encoding.finish() }
        var tagged: TaggedChunk?
        if let chunk {
            let tag = ChunkTag(
                stages: state.stages,
                index: state.chunks,
                event: state.event,
                arrival: used.first?.arrival ?? clock.now()
            )
            tagged = TaggedChunk(
                noised: chunk,
                tag: tag,
                options: state.options,
                resets: state.isReset
            )
            state.chunks += 1
            state.isReset = false
        }
        state.framesNeeded = state.stages.encoding.framesNeeded
        let (done, result) = (state, tagged)
        update(stream) { state in
            state.isEncoding = false
            // Frames whose chunk was not complete before a reset.
            state.underway.removeLast(min(lost, state.underway.count))
            state.dropped += lost
            state.underway += used
            state.adopt(done)
            state.noised = result
            state.isEncoded = done.isFinishing && result == nil
        }
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
        state.event = change.event
        if let steps = change.steps {
            state.options.configuration.steps = model.configuration.steps
            try state.options.configuration.keepSteps(steps)
        }
        if let scale = change.noiseScale { state.options.configuration.noiseScale = scale }
        if let isFixed = change.fixedNoise { state.options.settings.fixedNoise = isFixed }
        if let seed = change.seed { state.options.settings.seed = seed }
        if let fit = change.fit { state.options.fit = fit }
        if let embeddings = prepared.embeddings {
            state.mix.turn(to: embeddings, over: change.transition)
        }
        if change.resets, state.chunks > 0 {
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

    // MARK: - Denoising

    private func denoise() {
        let denoiser = SharedDenoiser(model, clock: clock)
        budget.divided(by: 2).apply()
        while let arrivals = arrivals(for: denoiser) {
            for (stream, error) in denoiser.run(arrivals, deliver: deliver) { end(stream, error) }
        }
    }

    /// Waits until the denoiser has something to do.
    private func arrivals(for denoiser: SharedDenoiser) -> SharedDenoiser.Arrivals? {
        condition.withLock {
            while isOpen {
                var arrivals = SharedDenoiser.Arrivals()
                arrivals.present = Set(streams.keys)
                for (id, state) in streams where state.canDenoise && !denoiser.isBusy(id) {
                    if let chunk = state.noised {
                        arrivals.chunks.append((state.stream, chunk, state.deadline))
                        streams[id]?.noised = nil
                    } else if state.isEncoded, !state.isDrained {
                        arrivals.finishing.append(state.stream)
                    }
                }
                let departed = denoiser.streamIDs.subtracting(arrivals.present)
                if !arrivals.isEmpty || denoiser.hasWork || !departed.isEmpty {
                    condition.broadcast()
                    return arrivals
                }
                condition.wait()
            }
            return nil
        }
    }

    private func deliver(_ result: SharedDenoiser.Result) {
        switch result {
        case .clean(let stream, let chunk, let tag):
            update(stream) { $0.clean.append((chunk, tag)) }
        case .drained(let stream):
            update(stream) { $0.isDrained = true }
        }
    }

    // MARK: - Decoding

    private func decodeChunks() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(where: \.canDecode) { state in
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
        let done = try tag.stages.decoding.decode(clean)
        var origins: [SharedFrame] = []
        update(stream) { state in
            state.isDecoding = false
            origins = Array(state.underway.prefix(done.frames.count))
            state.underway.removeFirst(origins.count)
            state.returned += origins.count
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
                    latency: done.latency
                )
            )
        )
    }
}
