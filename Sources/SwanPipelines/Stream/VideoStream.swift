import Foundation
import Logging
import SwanMedia
import SwanSystem
import SwanText
import SwanThreads
import Synchronization
import Torch

/// A live stream: frames go in, frames restyled by a prompt come out, as many as went in.
///
/// Frames come out in chunks: the first `push` that completes a chunk returns frames, and `finish`
/// returns the rest. Calls keep their order if they come from one task at a time.
public final class VideoStream: Sendable {
    private let options: StreamOptions
    private let log: Logger
    private let model: StreamModel
    private let prompts: StreamPrompts
    private let encoding: EncodeStage
    private let denoising: DenoiseStage
    private let decoding: DecodeStage
    private let growth: Mutex<Growth>

    /// A stream of `model` for a prompt.
    public init(
        _ model: StreamModel,
        prompt: String,
        options: StreamOptions,
        log: Logger = Logger(label: "swan.stream")
    ) throws {
        try model.check(height: options.height, width: options.width)
        self.model = model
        self.options = options
        self.log = log
        let (conditioning, issues) = try inference { try model.conditioning(prompt) }
        promptIssues = issues
        prompts = StreamPrompts(conditioning)
        encoding = try EncodeStage(model, options: options, prompts: prompts)
        denoising = try DenoiseStage(model, options: options, prompts: prompts)
        decoding = try DecodeStage(model, options: options)
        growth = Mutex(Growth(options))
    }

    /// Frames taken so far.
    public var framesIn: Int { encoding.framesIn }
    /// Frames given so far.
    public var framesOut: Int { decoding.framesOut }
    /// How long each chunk took from the arrival of its last frame until it was finished, in seconds.
    public var chunkSeconds: [Double] { decoding.chunkSeconds }
    /// What had to be changed in the first prompt, for a warning.
    public let promptIssues: [PromptIssue]
    /// The timestep that denoising starts from, of 1000.
    var firstStep: Int? { options.configuration.steps.first }
    /// Bytes of the KV cache.
    public var cacheByteCount: Int { denoising.cacheByteCount }

    /// Where the time went.
    public var seconds: StageSeconds {
        StageSeconds(
            encode: encoding.seconds,
            denoise: denoising.seconds,
            decode: decoding.seconds
        )
    }

    /// Changes the prompt from the next chunk on. The past stays in the cache.
    ///
    /// - Returns: what had to be changed in it, for a warning.
    @discardableResult
    public func setPrompt(_ prompt: String) throws -> [PromptIssue] {
        let (conditioning, issues) = try inference { try model.conditioning(prompt) }
        prompts.change(to: conditioning)
        return issues
    }

    /// Takes a frame of any size; returns what is finished by it.
    public func push(_ frame: VideoFrame) throws -> [VideoFrame] {
        try encoding.take(frame).map(process) ?? []
    }

    /// Ends the stream: the frames that are left, padded to a chunk and cut again.
    public func finish() throws -> [VideoFrame] {
        var rest: [VideoFrame] = []
        while let chunk = try encoding.finish() { rest += try process(chunk) }
        for chunk in try denoising.drain() { rest += try decode(chunk) }
        return rest
    }

    /// The next chunk of a stream that has no input: all from noise and the prompt.
    ///
    /// It starts with the model's highest step; the first chunk has three frames less than the others.
    public func generate() throws -> [VideoFrame] {
        // The rows of the stream batch have to fill before a chunk comes out.
        while true {
            let frames = try process(encoding.noise())
            if !frames.isEmpty { return frames }
        }
    }

    /// The stream as a sequence: frames are pulled from `source`, and what comes out is handed on.
    public func frames<Source: AsyncSequence>(
        from source: Source
    ) -> AsyncThrowingStream<VideoFrame, any Error> where Source.Element == VideoFrame {
        var iterator = source.makeAsyncIterator()
        var ready: ArraySlice<VideoFrame> = []
        var isOver = false
        nonisolated(unsafe) let next: () async throws -> VideoFrame? = {
            while ready.isEmpty, !isOver {
                if let frame = try await iterator.next() {
                    ready = try self.push(frame)[...]
                } else {
                    isOver = true
                    ready = try self.finish()[...]
                }
            }
            return ready.popFirst()
        }
        return AsyncThrowingStream { try await next() }
    }

    // MARK: - One stage after the other

    private func process(_ chunk: NoisedChunk) throws -> [VideoFrame] {
        var frames: [VideoFrame] = []
        for clean in try denoising.denoise(chunk) { frames += try decode(clean) }
        return frames
    }

    private func decode(_ chunk: CleanChunk) throws -> [VideoFrame] {
        let frames = try decoding.decode(chunk)
        let target = growth.withLock { $0.chunkTook(decoding.lastCost, overlapping: false) }
        if let target { grow(to: target) }
        return frames
    }

    private func grow(to frames: Int) {
        log.info(
            "chunks of \(frames) frames from here on: the stream was slower than its target"
        )
        encoding.framesPerChunk = frames
    }
}

// MARK: - The stages side by side

extension VideoStream {
    /// Runs the stream to its end with its stages side by side, each on a thread: as much work in
    /// less time, since one core works on the next chunk while another finishes the last.
    ///
    /// - Parameters:
    ///   - source: the next frame, nil at the end; called on a thread of its own.
    ///   - isStopped: asked at the end of the source whether chunks on their way are to be dropped.
    ///   - cancel: called when no more frames are wanted; has `source` return if it waits.
    ///   - give: called on this thread with the frames of each chunk; false ends the stream.
    public func run(
        _ source: @escaping @Sendable () throws -> VideoFrame?,
        isStopped: @escaping @Sendable () -> Bool = { false },
        cancel: () -> Void = {},
        give: ([VideoFrame]) -> Bool
    ) throws {
        let encoding = encoding
        try overlap(
            { put in
                while let frame = try source() {
                    if let chunk = try encoding.take(frame), !put(chunk) { return }
                }
                while !isStopped(), let chunk = try encoding.finish(), put(chunk) {}
            },
            isStopped,
            cancel,
            give
        )
    }

    /// Generates `frames` frames or some more from noise and the prompts, as `run` does.
    ///
    /// - Parameter willStart: called before each chunk with the number of its first frame.
    func generate(
        atLeast frames: Int,
        willStart: @escaping @Sendable (Int) throws -> Void,
        isStopped: @escaping @Sendable () -> Bool,
        give: ([VideoFrame]) -> Bool
    ) throws {
        let encoding = encoding
        let latentFrames = options.configuration.framesPerBlock
        try overlap(
            { put in
                var first = 0
                while first < frames, !isStopped() {
                    try willStart(first)
                    guard put(try encoding.noise()) else { return }
                    first += 4 * latentFrames - (first == 0 ? 3 : 0)
                }
            },
            isStopped,
            {},
            give
        )
    }

    private func overlap(
        _ produce: @escaping SideBySideStages<NoisedChunk, CleanChunk>.Produce,
        _ isStopped: @escaping @Sendable () -> Bool,
        _ cancel: () -> Void,
        _ give: ([VideoFrame]) -> Bool
    ) throws {
        // The stages share the cores: none takes all of them, or each would wait for the others' threads.
        let all = ComputeBudget.current
        let half = all.divided(by: 2)
        defer { all.apply() }
        let denoising = denoising
        let stages = SideBySideStages<NoisedChunk, CleanChunk>(
            names: ("swan.encode", "swan.denoise"),
            produce: produce,
            transform: { try denoising.denoise($0) },
            drain: { try denoising.drain() },
            // Until the first chunk is through a stage, those behind it have nothing to do.
            chunkIsDone: { half.apply() }
        )
        try stages.run(isStopped: isStopped, cancel: cancel) { chunk in
            let frames = try decoding.decode(chunk)
            half.apply()
            guard give(frames) else { return false }
            let target = growth.withLock { $0.chunkTook(decoding.lastCost, overlapping: true) }
            if let target { grow(to: target) }
            return true
        }
    }
}

/// Makes chunks as long as the cache allows when a stream falls behind its target rate.
///
/// Once, after the first few chunks: longer chunks cost latency and give throughput.
private struct Growth {
    private let target: Double?
    private let framesPerChunk, largest: Int
    private let patience: Int
    private var recent: [Double] = []
    private var isOver = false

    init(_ options: StreamOptions) {
        let configuration = options.configuration
        target = options.targetFPS
        framesPerChunk = 4 * configuration.framesPerBlock
        largest =
            4
            * max(
                configuration.framesPerBlock,
                configuration.cacheFrames - configuration.sinkFrames - 1
            )
        patience = 3 + configuration.steps.count
    }

    /// The frames of a chunk from now on, if that changes.
    mutating func chunkTook(_ cost: StageSeconds, overlapping: Bool) -> Int? {
        guard let target, !isOver else { return nil }
        // Side by side the slowest stage decides.
        recent.append(
            overlapping
                ? max(cost.encode, cost.denoise, cost.decode)
                : cost.encode + cost.denoise + cost.decode
        )
        guard recent.count == patience else { return nil }
        isOver = true
        let rate = Double(3 * framesPerChunk) / recent.suffix(3).reduce(0, +)
        return rate < target && largest > framesPerChunk ? largest : nil
    }
}
