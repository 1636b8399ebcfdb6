public import Logging
public import SwanMedia
import SwanSystem
public import SwanText
import Synchronization
public import Torch
import SwanCheckpoints
import SwanModels
import TorchNN

/// A live stream that restyles frames by a prompt and returns as many as it receives.
///
/// Frames are returned in chunks: a `push` that completes a chunk returns frames, and `finish`
/// returns the rest. Calls stay in order if they come from one task at a time. `run` runs the
/// stages concurrently on separate threads, and `frames(from:)` does the same for a task.
public final class VideoStream: Sendable {
    /// The compute budget of this stream's operators.
    let budget: ComputeBudget
    let options: StreamOptions
    let encoding: EncodeStage
    let denoising: DenoiseStage
    private let model: StreamModel
    private let prompts: StreamPrompts<TextConditioning>
    /// The newest prompt, as it was given.
    private let prompt: Mutex<String>
    private let decoding: DecodeStage
    private let growth: Mutex<ChunkGrowth>
    private let log: Logger

    /// Creates a stream of `model` for a prompt.
    ///
    /// - Parameters:
    ///   - budget: The CPU resources that the stream's operators may use.
    ///   - clock: The clock that latencies are measured with.
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
        self.prompt = Mutex(prompt)
        encoding = try EncodeStage(model, options: options, prompts: prompts, clock: clock)
        denoising = try DenoiseStage(model, options: options, prompts: prompts, clock: clock)
        decoding = try DecodeStage(model.vae, options: options, clock: clock)
        growth = Mutex(ChunkGrowth(options, temporalStride: model.vae.temporalStride))
    }

    /// The number of frames received so far.
    public var framesIn: Int { encoding.framesIn }
    /// The number of frames returned so far.
    public var framesOut: Int { decoding.framesOut }
    /// The time from the capture of each chunk's last frame until its frames were decoded.
    public var latencies: LatencyHistogram { decoding.latencies }
    /// The changes that had to be made to the initial prompt, to be shown as warnings.
    public let promptIssues: [PromptIssue]
    /// The timestep (of 1000) that denoising starts from.
    var firstStep: Int? { options.configuration.steps.first }
    /// The size of the KV cache in bytes.
    public var cacheByteCount: Int { denoising.cacheByteCount }

    /// The time spent in each stage.
    public var seconds: StageSeconds {
        StageSeconds(
            encode: encoding.seconds,
            denoise: denoising.seconds,
            decode: decoding.seconds
        )
    }

    /// Changes the prompt, starting with the next chunk. Past frames stay in the cache.
    ///
    /// - Returns: The changes that had to be made to the prompt, to be shown as warnings.
    @discardableResult
    public func setPrompt(_ prompt: String) throws -> [PromptIssue] {
        let (conditioning, issues) = try budget.run {
            try inference { try model.conditioning(prompt) }
        }
        prompts.change(to: conditioning)
        self.prompt.withLock { $0 = prompt }
        return issues
    }

    /// Changes the strength of a LoRA of the model, which must have been loaded with
    /// `addsLoRAsLive`. Chunks that are being denoised get a part of the change; later ones all of it.
    ///
    /// All streams of a model share its LoRAs.
    ///
    /// - Parameter index: The place of the LoRA among those that the model was loaded with.
    public func setStrength(_ strength: Double, ofLoRA index: Int = 0) throws {
        guard model.loras.isLive, model.loras.loras.indices.contains(index), strength.isFinite
        else {
            throw SwanError(
                .invalidRequest,
                "the strength of LoRA \(index) cannot be set to \(strength): the model has "
                    + "\(model.loras.isLive ? model.loras.loras.count : 0) LoRAs whose strength can "
                    + "be changed (addsLoRAsLive)"
            )
        }
        model.loras.loras[index].strength.value = strength
        // The keys and values of the prompt depend on it, too.
        try setPrompt(prompt.withLock { $0 })
    }

    // MARK: - Sequential stages

    /// Adds a frame of any size and returns the frames that this completes.
    public func push(_ frame: VideoFrame) throws -> [VideoFrame] {
        try push(TimedFrame(frame)).flatMap(\.frames)
    }

    /// Adds a frame of any size and returns the chunks that this completes.
    public func push(_ frame: TimedFrame) throws -> [StreamedChunk] {
        try budget.run { try encoding.add(frame).map(process) ?? [] }
    }

    /// Ends the stream and returns the remaining frames; the last chunk's padding is removed.
    public func finish() throws -> [VideoFrame] {
        try budget.run {
            var rest: [StreamedChunk] = []
            while let chunk = try encoding.finish() { rest += try process(chunk) }
            for chunk in try denoising.drain() { rest.append(try decode(chunk)) }
            return rest.flatMap(\.frames)
        }
    }

    /// Generates the next chunk of a stream without an input, from noise and the prompt.
    ///
    /// Denoising starts at the model's highest step; the first chunk has three frames fewer than
    /// the others.
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

    /// Decodes a denoised chunk.
    ///
    /// - Parameter overlapping: Whether other stages run at the same time.
    func decode(_ clean: CleanChunk, overlapping: Bool = false) throws -> StreamedChunk {
        let chunk = try decoding.decode(clean)
        let size = growth.withLock { $0.add(chunk.seconds, overlapping: overlapping) }
        if let size {
            log.info(
                "using chunks of \(size) frames from now on; the stream was slower than its target"
            )
            encoding.framesPerChunk = size
        }
        return chunk
    }
}
