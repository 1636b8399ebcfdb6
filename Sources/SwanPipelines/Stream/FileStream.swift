import Foundation
public import Logging
import SwanMedia
package import SwanSystem
import SwanDistributed
import SwanText
import SwanThreads
import Synchronization
import Torch
import SwanCheckpoints

/// A complete job: reads a video file, restyles it with a stream, and writes the result.
///
/// Reading, the stages of the stream, and writing run on separate threads so that they overlap; the
/// last stage and `onProgress` run on the thread that calls `run`. The queues between them are
/// bounded.
public final class FileStream: Sendable {
    private struct State {
        var input: FileStreamInput?
        var output: FileStreamOutput?
        var hasFrames = false
        var isStopped = false
    }

    private let request: FileStreamRequest
    /// The other ranks that take part; nil if there are none.
    private let ranks: StagedRanks?
    /// The model that other jobs use too; nil if this job has its own.
    private let shared: SharedModel?
    private let log: Logger
    private let start: ContinuousClock.Instant
    private let threads = WorkerThreads()
    private let state = Mutex(State())

    /// Creates a job without starting it.
    ///
    /// - Parameter start: The time from which loading and the first frame are measured; nil for the start
    ///   of the process.
    public init(
        _ request: FileStreamRequest,
        log: Logger = Logger(label: "swan"),
        start: ContinuousClock.Instant? = nil
    ) {
        self.request = request
        ranks = nil
        shared = nil
        self.log = log
        self.start = start ?? ProcessFacts.start ?? .now
    }

    /// Creates a job of a batch, without starting it.
    init(_ request: FileStreamRequest, sharing model: SharedModel, log: Logger) {
        (self.request, self.log) = (request, log)
        ranks = nil
        shared = model
        start = .now
    }

    /// Creates rank 0's job of a stream that several ranks run; the others call `serve`.
    package init(
        _ request: FileStreamRequest,
        _ ranks: StagedRanks,
        log: Logger
    ) throws(SwanError) {
        var request = request
        request.device = try ranks.device(named: request.device)
        (self.request, self.ranks, self.log) = (request, ranks, log)
        shared = nil
        start = ProcessFacts.start ?? .now
    }

    /// Runs the job to completion.
    ///
    /// If an error is thrown, no output is left behind. After `stop`, the output contains the
    /// frames finished by then; if there are none, there is no output.
    ///
    /// - Parameter onProgress: Called on the calling thread after every chunk.
    public func run(onProgress: (StreamProgress) -> Void = { _ in }) throws -> StreamSummary {
        do {
            return try stream(onProgress)
        } catch {
            abandon()
            throw error
        }
    }

    /// Ends the stream, keeping the frames that are finished. Can be called from any thread.
    ///
    /// - Returns: `false` if no frame is finished yet, so that there is nothing to keep.
    @discardableResult
    public func stop() -> Bool {
        let (hasFrames, input) = state.withLock { state in
            state.isStopped = true
            return (state.hasFrames, state.input)
        }
        input?.interrupt()
        return hasFrames
    }

    /// Removes the unfinished output before the process exits. Can be called from any thread.
    public func abandon() { state.withLock { $0.output }?.cancel() }

    private var isStopped: Bool { state.withLock { $0.isStopped } }
    private var isOver: Bool { isStopped || threads.failure != nil }

    // MARK: - The job

    /// The files that a job has opened.
    private struct Files {
        /// The input; `nil` for a stream from text alone.
        let input: FileStreamInput?
        let output: FileStreamOutput
        let shape: FileStreamOutput.Shape
        let plan: StreamPlan
        /// Whether the input's audio is copied to the output.
        let carriesAudio: Bool
    }

    private func stream(_ onProgress: (StreamProgress) -> Void) throws -> StreamSummary {
        let files = try open()
        let (input, output) = (files.input, files.output)
        onProgress(StreamProgress(stage: .loading, total: files.shape.frames))
        defer {
            // No thread outlives this call, even if it throws.
            input?.close()
            output.close(dropping: true)
            input?.interrupt()
            threads.wait()
        }
        try input?.start(threads)
        let (model, stream, loaded) = try load(files.plan)
        log.debug("loaded after \(String(format: "%.2f", (loaded - start).seconds)) s")
        try output.start(threads, time: { input?.nextTime() }) { [threads] in
            guard threads.failure != nil else { return }
            // Stop the input too: the stream may be waiting for a frame.
            input?.close()
            input?.interrupt()
        }
        warn(of: stream.promptIssues)
        do {
            try restyle(files, stream, since: loaded, onProgress)
        } catch let error as SwanError where error.code == .peerFailed {
            try keepFinished(files)
            throw error
        }
        try finish(files)
        var summary = summary(of: files, model)
        summary.loadSeconds = (loaded - start).seconds
        summary.seconds = (ContinuousClock.now - loaded).seconds
        summary.fps = summary.seconds > 0 ? Double(summary.framesOut) / summary.seconds : 0
        stream.add(to: &summary)
        if input == nil { summary.framesIn = 0 }
        return summary
    }

    /// Loads the model, or this rank's part of it, and starts its stream.
    private func load(
        _ plan: StreamPlan
    ) throws -> (StreamModel, any FileStreaming, ContinuousClock.Instant) {
        guard let ranks else {
            let model =
                try shared?.model(for: plan) ?? plan.checkpoint.load(plan.dtype, plan.device)
            let loaded = ContinuousClock.now
            let stream = try VideoStream(
                model,
                prompt: request.prompt,
                options: plan.options,
                log: log
            )
            return (model, stream, loaded)
        }
        let (staged, parts) = try ranks.join(plan)
        let loaded = ContinuousClock.now
        let stream = try StagedVideoStream(staged, parts, prompt: request.prompt, log: log)
        return (stream.model, stream, loaded)
    }

    /// Completes the file with the frames that were decoded before another rank failed.
    private func keepFinished(_ files: Files) throws {
        files.output.close()
        files.input?.close()
        files.input?.interrupt()
        threads.wait()
        guard threads.failure == nil, files.output.frameCount > 0 else { return }
        try files.output.finish(keepingAudio: false)
    }

    /// Runs the stream and waits until its frames are written.
    private func restyle(
        _ files: Files,
        _ stream: any FileStreaming,
        since loaded: ContinuousClock.Instant,
        _ onProgress: (StreamProgress) -> Void
    ) throws {
        var progress = StreamProgress(stage: .streaming, total: files.shape.frames)
        func deliver(_ frames: [VideoFrame]) -> Bool {
            guard files.output.put(frames) else { return false }
            progress.framesIn = stream.framesIn
            progress.framesOut += frames.count
            progress.seconds = (ContinuousClock.now - loaded).seconds
            if !frames.isEmpty {
                state.withLock { $0.hasFrames = true }
                onProgress(progress)
            }
            return true
        }
        if let input = files.input {
            try stream.run(source(input, stream, files.shape)) { deliver($0.frames) }
        } else {
            try generate(stream, files.shape, deliver)
        }
        progress.stage = .finishing
        onProgress(progress)
        files.output.close()
        threads.wait()
        if let failure = threads.failure { throw failure }
    }

    private func finish(_ files: Files) throws {
        try Engine.requireWholeFiles()
        if files.output.frameCount > 0 || !isStopped {
            // Keep audio after the last frame only if the output reaches the end of the input.
            let showsAll = !isStopped && files.input?.isReadWhole ?? false
            try files.output.finish(keepingAudio: showsAll)
        } else {
            files.output.cancel()
        }
        files.input?.warnOfDamage(log, keepsTimes: files.output.hasTimes)
        if files.carriesAudio { files.output.warnOfSound() }
        files.output.warnOfSkippedFrames()
    }
}

// MARK: - The input and the output

extension FileStream {
    private func open() throws -> Files {
        try request.files.check()
        let draft = try request.draft()
        let input = try request.openInput()
        input?.describePictures(log)
        state.withLock { $0.input = input }
        let plan = try draft.plan(for: input.map { FrameShape($0.info) })
        let shape = request.shape(of: input, plan, draft)
        try FileStreamOutput.requireRoom(request, shape)
        let output = try openOutput(shape)
        output.warnOfEncoder()
        for note in plan.notes { log.notice("\(note)") }
        plan.checkpoint.folder.warn(log)
        for note in plan.checkpoint.loraNotes { log.warning("\(note)") }
        for line in plan.description(of: request, input, shape) { log.debug("\(line)") }
        var carriesAudio = false
        if let input, input.info.hasAudio, let path = request.input {
            carriesAudio = output.copyAudio(from: path)
        }
        if let input, let path = request.input { output.copy(input.furtherTracks, from: path) }
        return Files(
            input: input,
            output: output,
            shape: shape,
            plan: plan,
            carriesAudio: carriesAudio
        )
    }

    private func openOutput(_ shape: FileStreamOutput.Shape) throws -> FileStreamOutput {
        guard !OutputPath.isWrittenDirectly(request.output) else {
            // Opening a pipe blocks until it has a reader. There is no file to remove, so the lock
            // is not held and `stop` does not block too.
            let output = try FileStreamOutput(request, shape, log)
            state.withLock { $0.output = output }
            return output
        }
        // Hold the lock while opening, so that `abandon` always finds the output.
        return try state.withLock { state in
            let output = try FileStreamOutput(request, shape, log)
            state.output = output
            return output
        }
    }

    private func summary(of files: Files, _ model: StreamModel) -> StreamSummary {
        var summary = StreamSummary()
        summary.framesOut = files.output.frameCount
        summary.firstFrameSeconds = files.output.firstFrame.map { ($0 - start).seconds }
        summary.stages.decode = (files.input?.seconds ?? 0) * 1_000
        summary.stages.write = files.output.seconds * 1_000
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.model = model.name
        summary.device = "\(model.device)"
        summary.dtype = "\(model.dtype)"
        summary.threads = Engine.threads
        summary.ranks = ranks?.world.size
        summary.seed = request.settings.seed
        summary.steps = files.plan.options.configuration.steps
        (summary.width, summary.height) = (files.shape.width, files.shape.height)
        summary.frameRate = "\(files.shape.frameRate)"
        summary.input = request.input
        summary.output = request.output
        summary.encoder = files.output.encoder
        summary.hasAudio = files.output.hasAudio
        summary.inputWasTruncated = files.input?.isTruncated ?? false
        summary.wasInterrupted = isStopped
        return summary
    }
}

// MARK: - The stream

extension FileStream {
    /// The input as the stream's source, until it ends, the output fails, or `stop` is called.
    ///
    /// After `stop`, chunks in flight are dropped: completing them would take as long as several
    /// chunks.
    private func source(
        _ input: FileStreamInput,
        _ stream: any FileStreaming,
        _ shape: FileStreamOutput.Shape
    ) -> StreamSource {
        let rate = shape.frameRate.value
        let prompts = LaterPrompts(request, frameRate: rate)
        // Resampled frames, and those of a constant rate, are where their number says.
        let keepsTimes = shape.varies && request.frameRate == nil
        return StreamSource(
            next: { [self] in
                guard !isStopped, let frame = input.next() else { return nil }
                let number = stream.framesIn
                let seconds = keepsTimes ? frame.seconds : Double(number) / rate
                try changePrompt(stream, prompts, frame: number, seconds: seconds)
                return TimedFrame(frame)
            },
            isStopped: { [self] in isOver },
            cancel: { input.close() }
        )
    }

    /// Streams from text alone.
    private func generate(
        _ stream: any FileStreaming,
        _ shape: FileStreamOutput.Shape,
        _ deliver: ([VideoFrame]) -> Bool
    ) throws {
        if let step = stream.firstStep, step < FileStreamRequest.leastStepFromNoise {
            log.warning(
                """
                this model is meant for restyling videos: its first step is \(step) of 1000, so \
                without an input it produces little but noise
                """
            )
        }
        let rate = shape.frameRate.value
        let prompts = LaterPrompts(request, frameRate: rate)
        let frames = request.maxFrames ?? 0
        var missing = frames
        try stream.generate(
            atLeast: frames,
            willStart: { [self] in
                try changePrompt(stream, prompts, frame: $0, seconds: Double($0) / rate)
            },
            isStopped: { [self] in isOver },
            deliver: { chunk in
                let wanted = Array(chunk.frames.prefix(missing))
                missing -= wanted.count
                return deliver(wanted)
            }
        )
    }

    private func changePrompt(
        _ stream: any FileStreaming,
        _ prompts: LaterPrompts,
        frame: Int,
        seconds: Double
    ) throws {
        while let prompt = prompts.next(at: frame, seconds: seconds) {
            warn(of: try stream.setPrompt(prompt))
        }
    }

    private func warn(of issues: [PromptIssue]) {
        for issue in issues { log.warning("\(issue)") }
    }
}
