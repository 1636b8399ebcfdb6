import Logging
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanModels
import SwanSystem
import SwanText
import SwanThreads
import Synchronization
import Torch

/// Rank 0 of a stream that several ranks run: what a `VideoStream` is for one rank.
final class StagedVideoStream: FileStreaming {
    private let staged: StagedStream
    let model: StreamModel
    private let encoding: EncodeStage
    private let prompts: StreamPrompts<Tensor>
    private let clock: StreamClock
    private let log: Logger
    private let parts: StagedParts
    /// The chunks under way, oldest first.
    private let marks: BoundedQueue<ChunkMark>
    private let state: Mutex<State>
    private let shown = ShownFrames()

    private struct State {
        /// The newest prompt that was sent.
        var prompt: Int?
        var growth: ChunkGrowth
        var framesOut = 0
        var seconds = StageSeconds()
        var latencies = LatencyHistogram()
        /// When the last chunk came back.
        var last: ContinuousClock.Instant?
        var isEnded = false
    }

    let promptIssues: [PromptIssue]

    init(
        _ staged: StagedStream,
        _ parts: StagedParts,
        prompt: String,
        clock: StreamClock = .continuous,
        log: Logger = Logger(label: "swan.stream")
    ) throws {
        guard let model = parts.model else {
            throw SwanError(.invalidArgument, "this rank does not read the input")
        }
        (self.staged, self.parts, self.model) = (staged, parts, model)
        (self.clock, self.log) = (clock, log)
        marks = BoundedQueue(capacity: staged.mostChunks)
        try model.check(height: staged.options.height, width: staged.options.width)
        let (embeddings, issues) = try inference { try model.embeddings(of: prompt) }
        promptIssues = issues
        prompts = StreamPrompts(embeddings)
        encoding = try EncodeStage(model, options: staged.options, prompts: prompts, clock: clock)
        let growth = ChunkGrowth(staged.options, temporalStride: model.vae.temporalStride)
        state = Mutex(State(growth: growth))
    }

    var framesIn: Int { encoding.framesIn }
    var firstStep: Int? { staged.options.configuration.steps.first }

    @discardableResult
    func setPrompt(_ prompt: String) throws -> [PromptIssue] {
        let (embeddings, issues) = try inference { try model.embeddings(of: prompt) }
        prompts.change(to: embeddings)
        return issues
    }

    func add(to summary: inout StreamSummary) {
        let (seconds, latencies) = state.withLock { ($0.seconds, $0.latencies) }
        summary.framesIn = framesIn
        summary.cuts = encoding.cuts
        summary.kvCacheBytes = staged.cacheByteCount(
            blocks: model.transformer.backbone.blocks.count,
            model.transformer.config
        )
        summary.stages.encode = encoding.seconds * 1_000
        summary.stages.denoise = seconds.denoise * 1_000
        summary.stages.vaeDecode = seconds.decode * 1_000
        summary.chunks = latencies.count
        summary.chunkLatency = StreamSummary.Latency(latencies)
    }

    // MARK: - Running

    func run(_ source: StreamSource, deliver: (StreamedChunk) throws -> Bool) throws {
        let encoding = encoding
        try drive(
            { put in try encoding.encode(source, put: put) },
            isStopped: source.isStopped,
            cancel: source.cancel,
            deliver: deliver
        )
    }

    func generate(
        atLeast frames: Int,
        willStart: @escaping @Sendable (Int) throws -> Void,
        isStopped: @escaping @Sendable () -> Bool,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let encoding = encoding
        try drive(
            { put in
                try encoding.generate(
                    atLeast: frames,
                    willStart: willStart,
                    isStopped: isStopped,
                    put: put
                )
            },
            isStopped: isStopped,
            cancel: {},
            deliver: deliver
        )
    }

    private func drive(
        _ produce: @escaping @Sendable (_ put: (NoisedChunk) throws -> Bool) throws -> Void,
        isStopped: @escaping @Sendable () -> Bool,
        cancel: @escaping @Sendable () -> Void,
        deliver: (StreamedChunk) throws -> Bool
    ) throws {
        let (chunks, frames) = try staged.outside
        try staged.start(parts)
        try staged.startThread("swan.encode") { [self] in
            try produce { chunk in try send(chunk, to: chunks) }
            var end = StageMessage(.end)
            end.mark = isStopped() || state.withLock({ $0.isEnded }) ? 1 : 0
            _ = chunks.put(end)
        }
        do {
            try receive(frames, deliver, cancel)
        } catch {
            staged.abandon(error)
        }
        // If a rank has failed, the encoder may still wait for a frame or for a chunk to return.
        marks.close(dropping: true)
        cancel()
        try staged.finish()
    }

    /// Sends a chunk to the first stage, after its prompt if that is new.
    private func send(_ chunk: NoisedChunk, to chunks: StagePost.Queue) throws -> Bool {
        staged.note(encoding: chunk.mark.seconds.encode)
        let (isNew, isEnded) = state.withLock { state in
            defer { state.prompt = chunk.prompt }
            return (state.prompt != chunk.prompt, state.isEnded)
        }
        guard !isEnded, marks.put(chunk.mark) else { return false }
        if isNew {
            var text = StageMessage(.text)
            text.number = chunk.prompt
            text.tensors = [prompts.conditioning(of: chunk.prompt)]
            guard chunks.put(text) else { return false }
        }
        return chunks.put(StageMessage(chunk))
    }

    /// Delivers chunks as they come back, until the stream ends or fails on any rank.
    private func receive(
        _ frames: StagePost.Queue,
        _ deliver: (StreamedChunk) throws -> Bool,
        _ cancel: () -> Void
    ) throws {
        var wantsMore = true
        while let message = frames.take(), message.kind == .frames {
            let chunk = try self.chunk(message)
            guard wantsMore, try !deliver(chunk) else { continue }
            wantsMore = false
            state.withLock { $0.isEnded = true }
            cancel()
        }
    }

    /// The chunk of a message, without padding.
    private func chunk(_ message: StageMessage) throws -> StreamedChunk {
        let (frames, decoding) = try message.decodedFrames()
        let now = clock.now()
        guard let mark = marks.take(within: 0) else {
            throw SwanError(.invalidData, "chunk \(message.number) came back twice")
        }
        let wanted = try shown(frames, mark)
        let (chunk, longer) = state.withLock { state in
            var seconds = mark.seconds
            // The slowest stage determines how often a chunk comes.
            seconds.denoise = state.last.map { (now - $0).seconds } ?? 0
            seconds.decode = decoding
            state.last = now
            state.seconds.denoise += seconds.denoise
            state.seconds.decode += decoding
            let latency = (now - mark.completion).seconds
            state.latencies.add(latency)
            state.framesOut += wanted.count
            let chunk = StreamedChunk(
                frames: wanted,
                captureTimes: mark.captureTimes ?? [],
                seconds: seconds,
                latency: latency
            )
            return (chunk, state.growth.add(seconds, overlapping: true))
        }
        if let longer {
            log.info(
                "using chunks of \(longer) frames from now on; the stream was slower than its target"
            )
            encoding.framesPerChunk = longer
        }
        return chunk
    }
}
