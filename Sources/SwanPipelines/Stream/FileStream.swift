import Dispatch
import Foundation
import Logging
import SwanMedia
import SwanSystem
import SwanText
import SwanThreads
import Synchronization
import Torch

/// A whole job: a video file is read, restyled by a stream, and written.
///
/// Reading ahead, the stages of the stream, and writing behind have threads of their own, so that they
/// overlap; the last stage and `onProgress` are on the thread that calls `run`. What waits between
/// them is limited.
public final class FileStream: Sendable {
    private struct State {
        var reader: VideoReader?
        var writer: VideoWriter?
        var hasFrames = false
        var isStopped = false
        /// The last frame of the input was taken.
        var inputEnded = false
        var failure: (any Error)?
        var decodeSeconds = 0.0
        var writeSeconds = 0.0
        var firstFrame: ContinuousClock.Instant?
    }

    private let request: FileStreamRequest
    private let log: Logger
    private let start: ContinuousClock.Instant
    private let state = Mutex(State())

    /// A job that is not begun yet.
    ///
    /// - Parameter start: from when the first frame's time counts.
    public init(
        _ request: FileStreamRequest,
        log: Logger = Logger(label: "swan"),
        start: ContinuousClock.Instant = ProcessFacts.start ?? .now
    ) {
        self.request = request
        self.log = log
        self.start = start
    }

    /// Does the job and waits for it.
    ///
    /// On an error nothing is left of the output. After `stop` the output has what was finished by
    /// then; where that is nothing, there is no output.
    ///
    /// - Parameter onProgress: called on the calling thread, after every chunk.
    public func run(onProgress: (StreamProgress) -> Void = { _ in }) throws -> StreamSummary {
        do {
            return try stream(onProgress)
        } catch {
            state.withLock { $0.writer }?.cancel()
            throw error
        }
    }

    /// From any thread: ends the stream with the frames that are finished.
    ///
    /// - Returns: false if no frame is finished yet, so that there is nothing to keep.
    @discardableResult
    public func stop() -> Bool {
        let (hasFrames, reader) = state.withLock { state in
            state.isStopped = true
            return (state.hasFrames, state.reader)
        }
        reader?.interrupt()
        return hasFrames
    }

    /// From any thread: removes the unfinished output, for a process that ends at once.
    public func abandon() {
        state.withLock { $0.writer }?.cancel()
    }

    // MARK: - The job

    private func stream(_ onProgress: (StreamProgress) -> Void) throws -> StreamSummary {
        try request.files.check()
        let draft = try request.draft()
        let (reader, rate) = try open(draft.options)
        let plan = try draft.plan(for: reader.map { FrameShape($0.info) })
        let size = plan.outputSize
        let total = reader.map { estimate($0) } ?? request.maxFrames
        try requireRoom(size, frames: total)
        let writer = try makeWriter(size, rate, frames: total)
        for note in plan.notes { log.notice("\(note)") }
        let carriesAudio = copyAudio(from: reader, to: writer)
        onProgress(StreamProgress(stage: .loading, total: total))

        let threads = DispatchGroup()
        let frames = BoundedQueue<VideoFrame>(capacity: Self.capacity(reader?.info))
        let results = BoundedQueue<VideoFrame>(capacity: Self.capacity(size.width, size.height))
        defer {
            // Whatever happened, no thread outlives this call.
            frames.close(dropping: true)
            results.close(dropping: true)
            reader?.interrupt()
            threads.wait()
        }
        if let reader { try read(reader, into: frames, threads) }
        let model = try plan.checkpoint.load(plan.dtype, plan.device)
        let loaded = ContinuousClock.now
        let stream = try VideoStream(
            model,
            prompt: request.prompt,
            options: plan.options,
            log: log
        )
        try write(results, to: writer, frames, threads)

        var progress = StreamProgress(stage: .streaming, total: total)
        func hand(on finished: [VideoFrame]) -> Bool {
            for frame in finished where !results.put(frame) { return false }
            progress.framesIn = stream.framesIn
            progress.framesOut += finished.count
            progress.seconds = (ContinuousClock.now - loaded).seconds
            if !finished.isEmpty {
                state.withLock { $0.hasFrames = true }
                onProgress(progress)
            }
            return true
        }
        warn(of: stream.promptIssues)
        if reader != nil {
            try pump(stream, frames, hand)
        } else {
            try generate(stream, hand)
        }
        progress.stage = .finishing
        onProgress(progress)
        results.close()
        threads.wait()
        if let failure = state.withLock({ $0.failure }) { throw failure }
        try Engine.requireWholeFiles()
        try finish(writer, reader)
        warnOfDamage(reader)
        if carriesAudio { warnOfSound(writer) }

        var summary = StreamSummary()
        summary.framesIn = reader == nil ? 0 : stream.framesIn
        summary.kvCacheBytes = stream.cacheByteCount
        summary.stages.encode = stream.seconds.encode * 1_000
        summary.stages.denoise = stream.seconds.denoise * 1_000
        summary.stages.vaeDecode = stream.seconds.decode * 1_000
        let latencies = stream.chunkSeconds
        summary.chunks = latencies.count
        summary.chunkLatency = StreamSummary.Latency(seconds: latencies)
        summary.seconds = (ContinuousClock.now - loaded).seconds
        summary.loadSeconds = (loaded - start).seconds
        summary.hasAudio = writer.hasAudio
        summary.inputWasTruncated = reader?.isTruncated ?? false
        describe(model, plan, writer, rate, &summary)
        return summary
    }

    private func describe(
        _ model: StreamModel,
        _ plan: StreamPlan,
        _ writer: VideoWriter,
        _ rate: Rational,
        _ summary: inout StreamSummary
    ) {
        let state = state.withLock { $0 }
        summary.framesOut = writer.frameCount
        summary.fps = summary.seconds > 0 ? Double(summary.framesOut) / summary.seconds : 0
        summary.firstFrameSeconds = state.firstFrame.map { ($0 - start).seconds }
        summary.stages.decode = state.decodeSeconds * 1_000
        summary.stages.write = state.writeSeconds * 1_000
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.model = model.name
        summary.device = "\(model.device)"
        summary.dtype = "\(model.dtype)"
        summary.threads = Engine.threads
        summary.seed = request.seed
        summary.steps = plan.options.configuration.steps
        (summary.width, summary.height) = plan.outputSize
        summary.frameRate = "\(rate)"
        summary.input = request.input
        summary.output = request.output
        summary.encoder = writer.encoder
        summary.wasInterrupted = state.isStopped
    }
}

// MARK: - The input and the output

extension FileStream {
    /// The input, and the output's frame rate.
    private func open(_ options: StreamOptions) throws -> (VideoReader?, Rational) {
        let wanted = request.frameRate.flatMap { Rational($0) }
        guard let input = request.input else {
            // Wan's videos have 16 frames a second.
            let rate = wanted ?? options.configuration.fps.flatMap { Rational($0) }
            return (nil, rate ?? Rational(16) ?? .one)
        }
        let reader = try VideoReader(path: input, options: VideoReader.Options(frameRate: wanted))
        state.withLock { $0.reader = reader }
        return (reader, reader.info.frameRate)
    }

    /// Throws where the disk is full, or where plain frames will not have room on it.
    private func requireRoom(_ size: (width: Int, height: Int), frames: Int?) throws {
        guard request.output != "-", !OutputPath.isWrittenDirectly(request.output) else { return }
        let isPlain = request.output.lowercased().hasSuffix(".y4m")
        let bytes = isPlain ? min(frames ?? 1, 1 << 30) * (size.width * size.height * 3 / 2) : 0
        try DiskSpace.require(max(bytes, Self.leastRoom), for: request.output)
    }

    /// Compressed, a video may be of any length; with less than this it is not begun.
    private static let leastRoom = 1 << 20

    private func makeWriter(
        _ size: (width: Int, height: Int),
        _ rate: Rational,
        frames: Int?
    ) throws -> VideoWriter {
        func open() throws -> VideoWriter {
            do throws(MediaError) {
                return try VideoWriter(
                    path: request.output,
                    width: size.width,
                    height: size.height,
                    frameRate: rate,
                    frames: frames,
                    options: VideoWriter.Options(replaces: request.overwrites)
                )
            } catch {
                guard error.code == .unsupported else { throw error }
                // The name or the size was asked for, so it is the request that is wrong.
                throw SwanError(.invalidRequest, error.message)
            }
        }
        let writer: VideoWriter
        if OutputPath.isWrittenDirectly(request.output) {
            // A pipe waits for its reader. There is nothing to give up, so `stop` need not wait too.
            writer = try open()
            state.withLock { $0.writer = writer }
        } else {
            // Held for as long as it takes, so that whoever gives the output up finds it.
            writer = try state.withLock { state in
                let writer = try open()
                state.writer = writer
                return writer
            }
        }
        if writer.encoder == "mpeg4" || writer.encoder == "libopenh264" {
            log.warning(
                """
                this FFmpeg has no libx264: the video is encoded by \(writer.encoder), which needs \
                more bytes for the same quality
                """
            )
        }
        return writer
    }

    /// Whether the input's sound is to go into the output.
    private func copyAudio(from reader: VideoReader?, to writer: VideoWriter) -> Bool {
        guard let reader, reader.info.hasAudio, let input = request.input else { return false }
        switch writer.copyAudio(from: input) {
        case .copied: return true
        case .encoded(let codec, let encoder):
            log.notice(
                """
                the input's sound is '\(codec)', which this kind of file does not hold: it is encoded \
                anew by '\(encoder)'
                """
            )
            return true
        case .skipped(let reason):
            log.warning("the output has no sound: \(reason)")
            return false
        }
    }

    private func estimate(_ reader: VideoReader) -> Int? {
        // Of pictures FFmpeg's readers are called "png_pipe" and the like.
        let isPicture = reader.info.format.hasSuffix("_pipe")
        guard let frames = reader.info.estimatedFrames ?? (isPicture ? 1 : nil) else {
            return request.maxFrames
        }
        return min(frames, request.maxFrames ?? .max)
    }

    private func finish(_ writer: VideoWriter, _ reader: VideoReader?) throws {
        guard writer.frameCount > 0 || !state.withLock({ $0.isStopped }) else {
            writer.cancel()
            return
        }
        let began = ContinuousClock.now
        try writer.finish(keepingAudio: showsAll(of: reader))
        let taken = (ContinuousClock.now - began).seconds
        state.withLock { $0.writeSeconds += taken }
    }

    /// Whether the output goes as far as the input's pictures: only then sound after them belongs to it.
    private func showsAll(of reader: VideoReader?) -> Bool {
        let (isStopped, inputEnded) = state.withLock { ($0.isStopped, $0.inputEnded) }
        guard !isStopped, let reader else { return false }
        guard let most = request.maxFrames else { return inputEnded }
        return inputEnded || most >= reader.info.estimatedFrames ?? .max
    }

    private func warnOfSound(_ writer: VideoWriter) {
        guard writer.frameCount > 0 else { return }
        if !writer.hasAudio {
            log.warning("the output has no sound: none of the input's belongs to its frames")
        }
        if writer.damagedAudioPackets > 0 {
            log.warning("\(writer.damagedAudioPackets) damaged packets of sound were passed over")
        }
    }

    private func warnOfDamage(_ reader: VideoReader?) {
        guard let reader, let input = request.input else { return }
        if reader.isTruncated {
            log.warning("\(input): is cut off; the frames that are there were streamed")
        }
        if reader.damagedPackets > 0 {
            log.warning("\(input): \(reader.damagedPackets) damaged packets were passed over")
        }
    }
}

// MARK: - Threads

extension FileStream {
    /// Frames that may wait: 64, but at most 96 MB of them.
    private static func capacity(_ width: Int, _ height: Int) -> Int {
        max(2, min(64, 96_000_000 / max(1, 3 * width * height)))
    }

    private static func capacity(_ info: VideoInfo?) -> Int {
        info.map { capacity($0.width, $0.height) } ?? 1
    }

    private func read(
        _ reader: VideoReader,
        into frames: BoundedQueue<VideoFrame>,
        _ threads: DispatchGroup
    ) throws {
        try start("swan.read", in: threads) { [self] in
            do {
                for _ in 0..<(request.maxFrames ?? .max) {
                    let began = ContinuousClock.now
                    let frame = try reader.nextFrame()
                    let taken = (ContinuousClock.now - began).seconds
                    state.withLock { $0.decodeSeconds += taken }
                    if frame == nil { state.withLock { $0.inputEnded = true } }
                    guard let frame, frames.put(frame) else { break }
                }
                frames.close()
            } catch {
                fail(error, closing: frames)
            }
        }
    }

    private func write(
        _ results: BoundedQueue<VideoFrame>,
        to writer: VideoWriter,
        _ frames: BoundedQueue<VideoFrame>,
        _ threads: DispatchGroup
    ) throws {
        try start("swan.write", in: threads) { [self] in
            do {
                while let frame = results.take() {
                    let began = ContinuousClock.now
                    try writer.append(frame)
                    let ended = ContinuousClock.now
                    state.withLock { state in
                        state.writeSeconds += (ended - began).seconds
                        if state.firstFrame == nil { state.firstFrame = ended }
                    }
                }
            } catch {
                fail(error, closing: results)
                // Nor is more input wanted, which may be waited for.
                frames.close(dropping: true)
                state.withLock { $0.reader }?.interrupt()
            }
        }
    }

    /// Starts a thread that the group waits for.
    private func start(
        _ name: String,
        in group: DispatchGroup,
        _ work: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        group.enter()
        do throws(SystemError) {
            try startThread(name) {
                work()
                group.leave()
            }
        } catch {
            group.leave()
            throw error
        }
    }

    private func fail(_ error: any Error, closing queue: BoundedQueue<VideoFrame>) {
        state.withLock { state in
            if state.failure == nil { state.failure = error }
        }
        queue.close(dropping: true)
    }

    private var isStopped: Bool { state.withLock { $0.isStopped } }
    private var isOver: Bool { state.withLock { $0.isStopped || $0.failure != nil } }

    /// Feeds the stream until the input ends, the output fails, or `stop` is called.
    ///
    /// What is on its way takes as long as several chunks: whoever stops does not wait for it.
    private func pump(
        _ stream: VideoStream,
        _ frames: BoundedQueue<VideoFrame>,
        _ hand: ([VideoFrame]) -> Bool
    ) throws {
        let prompts = LaterPrompts(request.laterPrompts)
        try stream.run(
            { [self] in
                guard !isStopped, let frame = frames.take() else { return nil }
                try changePrompt(stream, prompts, frame: stream.framesIn)
                return frame
            },
            isStopped: { [self] in isOver },
            cancel: { frames.close(dropping: true) },
            give: hand
        )
    }

    /// Streams from text alone.
    private func generate(_ stream: VideoStream, _ hand: ([VideoFrame]) -> Bool) throws {
        if let step = stream.firstStep, step < FileStreamRequest.leastStepFromNoise {
            log.warning(
                """
                this model was made to restyle videos: its first step is \(step) of 1000, so that \
                without an input it gives little but noise
                """
            )
        }
        let prompts = LaterPrompts(request.laterPrompts)
        let frames = request.maxFrames ?? 0
        var missing = frames
        try stream.generate(
            atLeast: frames,
            willStart: { [self] in try changePrompt(stream, prompts, frame: $0) },
            isStopped: { [self] in isOver },
            give: { chunk in
                let given = Array(chunk.prefix(missing))
                missing -= given.count
                return hand(given)
            }
        )
    }

    private func changePrompt(
        _ stream: VideoStream,
        _ prompts: LaterPrompts,
        frame: Int
    ) throws {
        while let prompt = prompts.next(at: frame) {
            warn(of: try stream.setPrompt(prompt))
        }
    }

    private func warn(of issues: [PromptIssue]) {
        for issue in issues { log.warning("\(issue)") }
    }
}

/// The prompts that are still to come, the next one first.
private final class LaterPrompts: Sendable {
    private let prompts: Mutex<[(frame: Int, text: String)]>

    init(_ prompts: [Int: String]) {
        self.prompts = Mutex(
            prompts.map { (frame: $0.key, text: $0.value) }.sorted { $0.frame < $1.frame }
        )
    }

    /// Takes the first prompt out if its frame has come.
    func next(at frame: Int) -> String? {
        prompts.withLock { prompts in
            guard let next = prompts.first, next.frame <= frame else { return nil }
            prompts.removeFirst()
            return next.text
        }
    }
}
