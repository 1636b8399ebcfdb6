public import Logging
public import SwanMedia
public import SwanText
import Synchronization
public import Torch
import SwanCheckpoints
import SwanModels

/// A live stream: frames go in, frames restyled by a prompt come out, as many as went in.
///
/// Frames come out in chunks: the first `push` that completes a chunk returns frames, and `finish`
/// returns the rest. Calls keep their order if they come from one task at a time. `run` has the stages
/// side by side on threads of their own, and `frames(from:)` does so for a task.
public final class VideoStream: Sendable {
    /// What only this stream's operators may use.
    let budget: ComputeBudget
    let options: StreamOptions
    let encoding: EncodeStage
    let denoising: DenoiseStage
    private let model: StreamModel
    private let prompts: StreamPrompts
    private let decoding: DecodeStage
    private let growth: Mutex<ChunkGrowth>
    private let log: Logger

    /// A stream of `model` for a prompt.
    ///
    /// - Parameters:
    ///   - budget: what its operators may use on the CPU.
    ///   - clock: what latencies are measured by.
    public init(
        _ model: StreamModel,
        prompt: String,
        options: StreamOptions,
        budget: ComputeBudget = .current,
        clock: StreamClock = .continuous,
        log: Logger = Logger(label: "swan.stream")
    ) throws {
        try model.check(height: options.height, width: options.width)
        self.model = model
        self.options = options
        self.budget = budget
        self.log = log
        let (conditioning, issues) = try budget.run {
            try inference { try model.conditioning(prompt) }
        }
        promptIssues = issues
        prompts = StreamPrompts(conditioning)
        encoding = try EncodeStage(model, options: options, prompts: prompts, clock: clock)
        denoising = try DenoiseStage(model, options: options, prompts: prompts, clock: clock)
        decoding = try DecodeStage(model, options: options, clock: clock)
        growth = Mutex(ChunkGrowth(options, temporalStride: model.vae.temporalStride))
    }

    /// Frames that went in so far.
    public var framesIn: Int { encoding.framesIn }
    /// Frames that came out so far.
    public var framesOut: Int { decoding.framesOut }
    /// How long chunks took from the capture of their last frame until they were finished.
    public var latencies: LatencyHistogram { decoding.latencies }
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
        let (conditioning, issues) = try budget.run {
            try inference { try model.conditioning(prompt) }
        }
        prompts.change(to: conditioning)
        return issues
    }

    // MARK: - One stage after the other

    /// Takes a frame of any size; returns what is finished by it.
    public func push(_ frame: VideoFrame) throws -> [VideoFrame] {
        try push(TimedFrame(frame)).flatMap(\.frames)
    }

    /// Takes a frame of any size; returns the chunks that are finished by it.
    public func push(_ frame: TimedFrame) throws -> [StreamedChunk] {
        try budget.run { try encoding.add(frame).map(process) ?? [] }
    }

    /// Ends the stream: the frames that are left, padded to a chunk and cut again.
    public func finish() throws -> [VideoFrame] {
        try budget.run {
            var rest: [StreamedChunk] = []
            while let chunk = try encoding.finish() { rest += try process(chunk) }
            for chunk in try denoising.drain() { rest.append(try decode(chunk)) }
            return rest.flatMap(\.frames)
        }
    }

    /// The next chunk of a stream that has no input: all from noise and the prompt.
    ///
    /// It starts with the model's highest step; the first chunk has three frames less than the others.
    public func generate() throws -> [VideoFrame] {
        try budget.run {
            // The rows of the stream batch have to fill before a chunk comes out.
            while true {
                let frames = try process(encoding.noise()).flatMap(\.frames)
                if !frames.isEmpty { return frames }
            }
        }
    }

    private func process(_ chunk: NoisedChunk) throws -> [StreamedChunk] {
        try denoising.denoise(chunk).map { try decode($0) }
    }

    /// The frames of a chunk that is denoised.
    ///
    /// - Parameter overlapping: whether other stages work meanwhile.
    func decode(_ clean: CleanChunk, overlapping: Bool = false) throws -> StreamedChunk {
        let chunk = try decoding.decode(clean)
        let size = growth.withLock { $0.add(chunk.seconds, overlapping: overlapping) }
        if let size {
            log.info(
                "chunks of \(size) frames from here on: the stream was slower than its target"
            )
            encoding.framesPerChunk = size
        }
        return chunk
    }
}
