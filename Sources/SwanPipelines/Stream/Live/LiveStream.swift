public import Logging
import SwanCheckpoints
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
    private struct State {
        var source: VideoSource?
        var isStopped = false
        var isClosed = false
        /// The prompt that a person chose in the window, until the next chunk takes it.
        var chosenPrompt: String?
        var shownPrompt: String
    }

    private let request: LiveStreamRequest
    private let log: Logger
    private let start: ContinuousClock.Instant
    private let threads = WorkerThreads()
    private let figures = LiveFigures()
    private let sending: MediaCancellation
    private let state: Mutex<State>

    /// Creates a job without starting it.
    public init(_ request: LiveStreamRequest, log: Logger = Logger(label: "swan")) throws {
        self.request = request
        self.log = log
        start = ProcessFacts.start ?? .now
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
        source?.close()
        return figures.shown > 0
    }

    /// Ends the stream as if the input ended, because a person closed the window.
    private func closeWindow() {
        let source = state.withLock { state in
            state.isClosed = true
            return state.source
        }
        source?.close()
    }

    private var isOver: Bool {
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
        let draft = try request.stream.draft()
        let source = try openSource()
        state.withLock { $0.source = source }
        defer {
            source.close()
            source.wait()
            threads.wait()
        }
        let plan = try draft.plan(for: FrameShape(source.info))
        for note in plan.notes { log.notice("\(note)") }
        let writer = try openFile(source, plan)
        try source.start()
        let loading = StreamProgress(stage: .loading, total: nil)
        onProgress(LiveProgress(stream: loading))
        let model = try plan.checkpoint.load(plan.dtype, plan.device)
        let loaded = ContinuousClock.now
        let stream = try VideoStream(
            model,
            prompt: request.stream.prompt,
            options: plan.options,
            log: log
        )
        for issue in stream.promptIssues { log.warning("\(issue)") }
        let outputs = try startOutputs(source, plan, writer, styles: model.styles)
        source.accept()
        try restyle(source, stream, outputs, since: loaded, onProgress)
        var summary = summary(of: source, plan, outputs, model)
        summary.loadSeconds = (loaded - start).seconds
        summary.seconds = (ContinuousClock.now - loaded).seconds
        summary.hasAudio = writer?.hasAudio ?? false
        summary.add(stream)
        summary.fps = summary.seconds > 0 ? Double(summary.framesOut) / summary.seconds : 0
        if let loss = source.loss, !isOver { throw loss }
        return summary
    }

    /// Runs the stream, and waits until its frames were shown.
    private func restyle(
        _ source: VideoSource,
        _ stream: VideoStream,
        _ outputs: [LiveOutput],
        since loaded: ContinuousClock.Instant,
        _ onProgress: (LiveProgress) -> Void
    ) throws {
        defer { for output in outputs { output.close(dropping: true) } }
        var progress = LiveProgress(stream: StreamProgress(stage: .streaming, total: nil))
        try stream.run(frames(source, stream)) { chunk in
            guard outputs.allSatisfy({ $0.put(chunk) }) else { return false }
            progress.stream.framesIn = stream.framesIn
            progress.stream.framesOut += chunk.frames.count
            progress.stream.seconds = (ContinuousClock.now - loaded).seconds
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
    private func frames(_ source: VideoSource, _ stream: VideoStream) -> StreamSource {
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

    private func drops(_ source: VideoSource, _ outputs: [LiveOutput]) -> FrameDrops {
        var drops = source.drops
        drops.output = outputs.map(\.droppedFrames).reduce(0, +)
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
            log: log
        )
    }

    /// The frame rate of outputs: at most the one that is asked for.
    private func rate(_ source: VideoSource) -> Rational {
        let own = source.info.frameRate
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

    private func startOutputs(
        _ source: VideoSource,
        _ plan: StreamPlan,
        _ writer: VideoWriter?,
        styles: KnownStyles?
    ) throws -> [LiveOutput] {
        var outputs: [LiveOutput] = []
        if request.showsWindow { outputs.append(window(source, plan, styles)) }
        if let writer {
            outputs.append(file(source, writer, isMain: outputs.isEmpty))
        } else if let output = request.output {
            outputs.append(try receiver(output, source, plan, isMain: outputs.isEmpty))
        }
        do {
            for output in outputs {
                try output.start(threads) { [threads] in
                    // The stream may be waiting for a frame.
                    if threads.failure != nil { source.close() }
                }
            }
        } catch {
            for output in outputs { output.close(dropping: true) }
            throw error
        }
        return outputs
    }

    private func policy(_ source: VideoSource) -> LiveOutput.Policy {
        source.isLive ? .dropPaced : .waitPaced
    }

    private func window(
        _ source: VideoSource,
        _ plan: StreamPlan,
        _ styles: KnownStyles?
    ) -> LiveOutput {
        let names = styles?.known.map(\.name) ?? []
        let actions = WindowActions(
            digit: { [self] number in
                guard names.indices.contains(number - 1) else { return }
                state.withLock { state in
                    state.chosenPrompt = names[number - 1]
                    state.shownPrompt = names[number - 1]
                }
            },
            pause: { source.isPaused.toggle() },
            close: { [self] in closeWindow() },
            title: { [self] in
                let latency = figures.recentLatency.map { Int($0.p50 * 1_000) }
                let fps = (figures.fps * 10).rounded() / 10
                let figures = source.isPaused ? "paused" : "\(fps) fps, \(latency ?? 0) ms"
                let prompt = state.withLock { $0.shownPrompt }
                return "swan: \(prompt.printable(limit: 60)) (\(figures))"
            }
        )
        let (width, height) = plan.outputSize
        return LiveOutput(
            policy(source),
            rate: rate(source).value,
            capacity: VideoFrame.queueCapacity(width, height),
            figures: figures
        ) { WindowReceiver(width: width, height: height, actions) }
    }

    private func file(_ source: VideoSource, _ writer: VideoWriter, isMain: Bool) -> LiveOutput {
        let rate = rate(source).value
        return LiveOutput(
            .wait,
            rate: rate,
            capacity: VideoFrame.queueCapacity(writer.width, writer.height),
            figures: isMain ? figures : nil
        ) { [self] in
            FileReceiver(writer, rate: rate, keepsTime: source.isLive) { !self.isOver }
        }
    }

    private func receiver(
        _ output: String,
        _ source: VideoSource,
        _ plan: StreamPlan,
        isMain: Bool
    ) throws -> LiveOutput {
        let location = try MediaLocation(output)
        let (width, height) = plan.outputSize
        let rate = rate(source)
        if source.info.hasAudio {
            log.notice("\(location.description): the sound of the input is not sent")
        }
        return LiveOutput(
            policy(source),
            rate: rate.value,
            capacity: VideoFrame.queueCapacity(width, height),
            figures: isMain ? figures : nil
        ) { [request, sending, log] in
            SendingReceiver {
                if case .network(let address) = location, address.isListening {
                    log.notice("\(location.description): waiting for a receiver")
                }
                return try LiveWriter(
                    location,
                    width: width,
                    height: height,
                    frameRate: rate,
                    options: request.sending,
                    cancellation: sending
                )
            }
        }
    }

    private func summary(
        of source: VideoSource,
        _ plan: StreamPlan,
        _ outputs: [LiveOutput],
        _ model: StreamModel
    ) -> StreamSummary {
        var summary = StreamSummary()
        var live = LiveSummary()
        live.latency = StreamSummary.Latency(figures.latencies)
        live.drops = drops(source, outputs)
        live.framesShown = figures.shown
        summary.live = live
        summary.framesOut = figures.shown
        summary.firstFrameSeconds = figures.firstShown.map { ($0 - start).seconds }
        summary.stages.decode = source.decodeSeconds * 1_000
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.model = model.name
        summary.device = "\(model.device)"
        summary.dtype = "\(model.dtype)"
        summary.threads = Engine.threads
        summary.seed = request.stream.settings.seed
        summary.steps = plan.options.configuration.steps
        (summary.width, summary.height) = plan.outputSize
        summary.frameRate = "\(rate(source))"
        summary.input = source.name
        summary.output = outputs.isEmpty ? "" : outputName
        summary.encoder = outputs.last?.encoder ?? ""
        summary.wasInterrupted = state.withLock { $0.isStopped }
        return summary
    }

    /// The output's name, without passwords and keys.
    private var outputName: String {
        guard let output = request.output else { return LiveStreamRequest.window }
        do throws(SwanError) {
            return try MediaLocation(output).description
        } catch {
            return output
        }
    }
}
