public import Logging
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanSystem
import SwanText
import SwanThreads
import Synchronization
import Torch

/// A live job: restyles the frames of a source and gives them to a receiver, a window, or both.
///
/// Reading, the stages of the stream and each output have threads of their own. A live source never waits: what the
/// stream has no time for is dropped and counted.
public final class LiveStream: Sendable {
    struct State {
        var source: VideoSource?
        var isStopped = false
        var isClosed = false
        /// Whether all outputs are connected.
        var hasOutputs = false
        /// Whether the window was closed before that.
        var isClosedEarly = false
        /// The prompt that a person chose in the window, until the next chunk takes it.
        var chosenPrompt: String?
        var shownPrompt: String
    }

    let request: LiveStreamRequest
    /// The other ranks that take part; nil if there are none.
    let ranks: StagedRanks?
    let log: Logger
    let start: ContinuousClock.Instant
    let threads = WorkerThreads()
    let figures = LiveFigures()
    let reading, sending: MediaCancellation
    let state: Mutex<State>

    /// Creates a job without starting it.
    public convenience init(
        _ request: LiveStreamRequest,
        log: Logger = Logger(label: "swan")
    ) throws {
        try self.init(request, over: nil, log: log)
    }

    /// Creates a job of this process alone, or rank 0's job of a stream that several ranks run; the
    /// others call `serve`.
    package init(
        _ request: LiveStreamRequest,
        over ranks: StagedRanks?,
        log: Logger
    ) throws {
        self.request = request
        self.ranks = ranks
        self.log = log
        start = ProcessFacts.start ?? .now
        reading = try MediaCancellation()
        sending = try MediaCancellation()
        state = Mutex(State(shownPrompt: request.stream.prompt))
    }

    /// Ends the stream; the outputs are completed. Can be called from any thread.
    ///
    /// - Returns: `false` if nothing was shown yet, so that there is nothing to complete.
    @discardableResult
    public func stop() -> Bool {
        let source = state.withLock { state in
            state.isStopped = true
            return state.source
        }
        reading.cancel()
        source?.close()
        return figures.shown > 0
    }

    /// Ends the stream as if the input ended, because a person closed the window. An output that still waits for its
    /// receiver waits no longer.
    func closeWindow() {
        let (source, isEarly) = state.withLock { state in
            state.isClosed = true
            state.isClosedEarly = state.isClosedEarly || !state.hasOutputs
            return (state.source, state.isClosedEarly)
        }
        if isEarly { sending.cancel() }
        source?.close()
    }

    var isOver: Bool {
        state.withLock { $0.isStopped || $0.isClosed } || threads.failure != nil
    }

    // MARK: - The job

    /// Runs the job until the source ends, is lost, or `stop` is called.
    ///
    /// Throws why the source was lost, after the outputs have been completed.
    ///
    /// - Parameter onProgress: Called on the calling thread after every chunk.
    public func run(onProgress: (LiveProgress) -> Void = { _ in }) throws -> StreamSummary {
        do {
            return try stream(onProgress)
        } catch {
            sending.cancel()
            throw error
        }
    }

    private func stream(_ onProgress: (LiveProgress) -> Void) throws -> StreamSummary {
        try request.check()
        try request.files().check()
        let draft = try draft()
        let loading = StreamProgress(stage: .loading, total: nil)
        onProgress(LiveProgress(stream: loading))
        // A sender that connects before the model is loaded would lose what it sends.
        let part = try ranks.map { ranks in try RankPart(ranks, draft) }
        let model =
            try part?.parts.model ?? draft.checkpoint.load(draft.dtype, draft.device)
        let loaded = ContinuousClock.now
        let source = try openSource()
        state.withLock { $0.source = source }
        defer {
            source.close()
            source.wait()
            threads.wait()
        }
        let plan = try draft.plan(for: FrameShape(source.info))
        for note in plan.notes { log.notice("\(note)") }
        plan.checkpoint.folder.warn(log)
        let writer = try openFile(source, plan)
        try source.start()
        let stream = try self.stream(model, part, plan)
        for issue in stream.promptIssues { log.warning("\(issue)") }
        var outputs: [LiveOutput] = []
        var accepted = ContinuousClock.now
        do {
            outputs = try startOutputs(source, plan, writer, styles: model.styles)
            state.withLock { $0.hasOutputs = true }
            source.accept()
            accepted = .now
            try restyle(source, stream, outputs, since: accepted, onProgress)
        } catch  where state.withLock({ $0.isClosedEarly }) {
            // No receiver was connected, and nobody waits for one any more.
        }
        var summary = summary(of: source, plan, outputs, model)
        summary.loadSeconds = (loaded - start).seconds
        summary.seconds = (ContinuousClock.now - accepted).seconds
        summary.hasAudio = writer?.hasAudio ?? false
        stream.add(to: &summary)
        summary.fps = summary.seconds > 0 ? Double(summary.framesOut) / summary.seconds : 0
        try requireFrames(source)
        return summary
    }

    /// Throws if the source was lost, or ended before the stream took a frame.
    private func requireFrames(_ source: VideoSource) throws {
        guard !isOver else { return }
        if let loss = source.loss { throw loss }
        guard source.framesPassed == 0 else { return }
        throw SwanError(
            .empty,
            "\(source.name): ended before a frame was restyled; there is no output"
        )
    }

    /// Runs the stream, and waits until its frames were shown.
    private func restyle(
        _ source: VideoSource,
        _ stream: any FileStreaming,
        _ outputs: [LiveOutput],
        since accepted: ContinuousClock.Instant,
        _ onProgress: (LiveProgress) -> Void
    ) throws {
        defer { for output in outputs { output.close(dropping: true) } }
        var progress = LiveProgress(stream: StreamProgress(stage: .streaming, total: nil))
        try stream.run(frames(source, stream)) { chunk in
            guard outputs.allSatisfy({ $0.put(chunk) }) else { return false }
            progress.stream.framesIn = stream.framesIn
            progress.stream.framesOut += chunk.frames.count
            progress.stream.seconds = (ContinuousClock.now - accepted).seconds
            (progress.fpsIn, progress.fpsOut) = (source.fps, figures.fps)
            progress.latency = figures.recentLatency.map { ($0.p50 * 1_000, $0.p95 * 1_000) }
            progress.drops = drops(source, outputs)
            progress.isPaused = source.isPaused
            onProgress(progress)
            return true
        }
        progress.stream.stage = .finishing
        onProgress(progress)
        for output in outputs { output.close() }
        threads.wait()
        if let failure = threads.failure { throw failure }
    }

    /// The source of the stream, with the changes of the prompt.
    private func frames(_ source: VideoSource, _ stream: any FileStreaming) -> StreamSource {
        let prompts = LaterPrompts(request.stream.laterPrompts)
        return StreamSource(
            next: { [self] in
                guard !isOver, let frame = source.next() else { return nil }
                var changes: [String] = []
                while let prompt = prompts.next(at: stream.framesIn) { changes.append(prompt) }
                let chosen = state.withLock { state in
                    defer { state.chosenPrompt = nil }
                    return state.chosenPrompt
                }
                if let prompt = chosen ?? changes.last {
                    for issue in try stream.setPrompt(prompt) { log.warning("\(issue)") }
                }
                return frame
            },
            isStopped: { [self] in isOver },
            cancel: { source.close() }
        )
    }

    func drops(_ source: VideoSource, _ outputs: [LiveOutput]) -> FrameDrops {
        var drops = source.drops
        drops.output = outputs.map(\.droppedFrames).reduce(0, +)
        drops.early = outputs.map(\.earlyFrames).reduce(0, +)
        return drops
    }
}

// MARK: - Source and outputs

extension LiveStream {
    private func openSource() throws -> VideoSource {
        var options = VideoSource.Options()
        options.frameRate = request.stream.frameRate.flatMap { Rational($0) }
        options.maxFrames = request.stream.maxFrames
        options.reconnectSeconds = request.reconnectSeconds
        options.isLive = request.isLive
        return try VideoSource.open(
            named: request.stream.input ?? "",
            options: options,
            cancellation: reading,
            log: log
        )
    }

    /// The frame rate of outputs: at most the one that is asked for.
    func rate(_ source: VideoSource) -> Rational {
        // Some live streams claim a thousand frames per second, which is their unit of time.
        let claimed = source.info.frameRate
        let own = source.isLive && claimed.value > 120 ? Rational(30) ?? claimed : claimed
        guard let wanted = request.stream.frameRate.flatMap({ Rational($0) }) else { return own }
        return wanted.value < own.value ? wanted : own
    }

    /// Opens the output if it is a file, before anything is computed.
    private func openFile(_ source: VideoSource, _ plan: StreamPlan) throws -> VideoWriter? {
        guard let output = request.output, try !MediaLocation(output).isLive else { return nil }
        let writer = try VideoWriter(
            path: output,
            width: plan.outputSize.width,
            height: plan.outputSize.height,
            frameRate: rate(source),
            options: VideoWriter.Options(replaces: request.stream.overwrites)
        )
        guard source.info.hasAudio else { return writer }
        guard !source.isLive, let input = request.stream.input else {
            log.warning("the output has no sound: the sound of a live source is not recorded")
            return writer
        }
        if case .skipped(let reason) = writer.copyAudio(from: input) {
            log.warning("the output has no sound: \(reason)")
        }
        return writer
    }
}
