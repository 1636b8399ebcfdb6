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
    private let prompts: StreamPrompts<StreamLook>
    private let newest: Mutex<Newest>
    private let decoding: DecodeStage
    private let growth: Mutex<ChunkGrowth>
    private let log: Logger

    /// What chunks will be made with from now on.
    private struct Newest {
        /// The prompt, as it was given.
        var prompt: String
        var transformer: CausalWanTransformer
        /// Whether the transformer has other LoRAs than the model's.
        var hasOwnLoRAs = false
    }

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
        let (look, issues) = try budget.run {
            try inference { try model.look(prompt, model.transformer) }
        }
        promptIssues = issues
        prompts = StreamPrompts(look)
        newest = Mutex(Newest(prompt: prompt, transformer: model.transformer))
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
        try newest.withLock { newest in
            newest.prompt = prompt
            return try apply(newest)
        }
    }

    /// Encodes the newest prompt for the newest transformer, for chunks that are completed from now on.
    private func apply(_ newest: Newest) throws -> [PromptIssue] {
        let (look, issues) = try budget.run {
            try inference { try model.look(newest.prompt, newest.transformer) }
        }
        prompts.change(to: look)
        return issues
    }

    /// Replaces the LoRAs that the model was loaded with, or that were set before, starting with the
    /// next chunk: as if the model had been loaded with them. None removes all.
    ///
    /// The transformer is loaded again with the LoRAs merged, while the stream goes on; the memory
    /// of a second transformer is needed as long as the stream has LoRAs of its own. Chunks that are being
    /// denoised get a part of the change, and past frames stay in the cache, as with a new prompt.
    /// Other streams of the model are not affected.
    ///
    /// - Parameter requiresWhole: Whether a LoRA with keys that have no place in the model is an
    ///   error.
    /// - Returns: Messages about keys that were left out, to be shown as warnings.
    /// - Throws: As opening a model with these LoRAs; then nothing is changed.
    @discardableResult
    public func setLoRAs(
        _ loras: [GenerationOptions.LoRAFile],
        requiresWhole: Bool = false
    ) throws -> [String] {
        let (transformer, notes) = try budget.run {
            try model.transformer(with: loras, isStrict: requiresWhole)
        }
        try newest.withLock { newest in
            newest.transformer = transformer
            newest.hasOwnLoRAs = true
            _ = try apply(newest)
        }
        return notes
    }

    /// Changes the strength of a LoRA of the model, which must have been loaded with
    /// `addsLoRAsLive`. Chunks that are being denoised get a part of the change; later ones all of it.
    ///
    /// All streams of a model share its LoRAs.
    ///
    /// - Parameter index: The place of the LoRA among those that the model was loaded with.
    /// - Throws: `invalidRequest` for a LoRA that is not only low-rank products: what else it
    ///   changes is merged into weights. `setLoRAs` changes any.
    public func setStrength(_ strength: Double, ofLoRA index: Int = 0) throws {
        let loras = model.loras
        guard loras.isLive, loras.loras.indices.contains(index), strength.isFinite else {
            throw SwanError(
                .invalidRequest,
                "the strength of LoRA \(index) cannot be set to \(strength): the model has "
                    + "\(loras.isLive ? loras.loras.count : 0) LoRAs whose strength can "
                    + "be changed (addsLoRAsLive); setLoRAs replaces others"
            )
        }
        let lora = loras.loras[index]
        try newest.withLock { newest in
            guard lora.isAdditive, !newest.hasOwnLoRAs else {
                throw SwanError(
                    .invalidRequest,
                    newest.hasOwnLoRAs
                        ? "the stream has LoRAs of its own; change them with setLoRAs"
                        : "\(lora.name): changes weights by more than low-rank products, which "
                            + "cannot be changed at once; use setLoRAs"
                )
            }
            lora.strength.value = strength
            // The keys and values of the prompt depend on it, too.
            _ = try apply(newest)
        }
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
