import Foundation
import Logging
import SwanMedia
import SwanModels
import SwanSchedulers
import SwanText
import Torch

/// A live stream: frames go in, frames restyled by a prompt come out, as many as went in.
///
/// The stream keeps its state between calls and runs on one task at a time. Frames come out in chunks:
/// the first `push` that completes a chunk returns frames, and `finish` returns the rest.
public final class VideoStream {
    private let model: StreamModel
    private let options: StreamOptions
    private let schedule: FlowMatch
    private let log: Logger
    private let generator: Generator
    private var text: TextConditioning
    private var encoder: WanVAE.EncoderState
    private var decoder: WanVAE.DecoderState
    private var denoiser: StreamDenoiser
    private var controller: NoiseController
    private var pending: [VideoFrame] = []
    private var lastFrame: VideoFrame?
    private var framesPerChunk: Int
    private var isPrepared = false
    private var hasGrown = false

    /// Frames taken so far.
    public private(set) var framesIn = 0
    /// Frames given so far.
    public private(set) var framesOut = 0
    /// Where the time went.
    public private(set) var seconds = StageSeconds()
    /// How long each chunk took, in seconds.
    public private(set) var chunkSeconds: [Double] = []
    /// What had to be changed in the prompts, for a warning.
    public private(set) var promptIssues: [PromptIssue] = []

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
        let configuration = options.configuration
        schedule = try FlowMatch(.streaming(shift: configuration.shift))
        let generator = try Generator(seed: options.seed, device: model.device)
        self.generator = generator
        let (dtype, device) = (model.dtype, model.device)
        let (text, issues) = try inference { try model.conditioning(prompt) }
        self.text = text
        promptIssues = issues
        encoder = WanVAE.EncoderState()
        decoder = WanVAE.DecoderState()
        let stride = model.vae.config.spatialStride
        denoiser = try StreamDenoiser(
            model.transformer,
            schedule: schedule,
            steps: schedule.denoisingSteps(
                configuration.steps + [0],
                warped: configuration.warpsSteps
            ),
            streamBatch: options.streamBatch,
            cache: KVCacheOptions(
                frames: configuration.cacheFrames,
                sinkFrames: configuration.sinkFrames,
                sinkThreshold: configuration.sinkThreshold
            ),
            tokensPerFrame: model.transformer.config.tokensPerFrame(
                height: options.height / stride,
                width: options.width / stride
            ),
            dtype: dtype,
            device: device,
            noise: { shape throws(TorchError) in try .randn(shape, generator, dtype, device) }
        )
        controller = try NoiseController(
            initialScale: configuration.noiseScale,
            isFixed: options.fixedNoise
        )
        framesPerChunk = 4 * configuration.framesPerBlock
    }

    /// Bytes of the KV cache.
    public var cacheByteCount: Int { denoiser.cacheByteCount }

    /// Changes the prompt from the next chunk on. The past stays in the cache.
    public func setPrompt(_ prompt: String) throws {
        let (text, issues) = try inference { try model.conditioning(prompt) }
        self.text = text
        promptIssues += issues
    }

    /// Takes a frame of any size; returns what is finished by it.
    public func push(_ frame: VideoFrame) throws -> [VideoFrame] {
        pending.append(frame)
        framesIn += 1
        guard pending.count == (isPrepared ? framesPerChunk : framesPerChunk + 1) else { return [] }
        let chunk = pending
        pending = []
        return try inference { try give(process(chunk)) }
    }

    /// Ends the stream: the frames that are left, padded to a chunk and cut again.
    public func finish() throws -> [VideoFrame] {
        try inference {
            var rest: [VideoFrame] = []
            if let last = pending.last {
                let size = isPrepared ? framesPerChunk : framesPerChunk + 1
                let chunk = pending + Array(repeating: last, count: size - pending.count)
                pending = []
                rest += try process(chunk)
            }
            rest += try drain()
            return give(rest)
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

    /// The next chunk of a stream that has no input: all from noise and the prompt.
    ///
    /// It starts with the model's highest step; the first chunk has three frames less than the others.
    public func generate() throws -> [VideoFrame] {
        try inference {
            let frames = options.configuration.framesPerBlock
            let latents = try noise(frames: frames)
            let start = ContinuousClock.now
            var clean: Tensor? = try denoise(latents, firstTimestep: nil)
            // The rows of the stream batch have to fill before a chunk comes out.
            while clean == nil { clean = try denoise(noise(frames: frames), firstTimestep: nil) }
            seconds.denoise += (ContinuousClock.now - start).seconds
            let chunk = try clean.map { try decode($0) } ?? []
            framesOut += chunk.count
            return chunk
        }
    }

    // MARK: - A chunk's way

    private func process(_ chunk: [VideoFrame]) throws -> [VideoFrame] {
        let start = ContinuousClock.now
        let (latents, firstTimestep) = try encode(chunk)
        let encoded = ContinuousClock.now
        let clean = try denoise(latents, firstTimestep: firstTimestep)
        let denoised = ContinuousClock.now
        let finished = try clean.map { try decode($0) } ?? []
        seconds.encode += (encoded - start).seconds
        seconds.denoise += (denoised - encoded).seconds
        chunkSeconds.append((ContinuousClock.now - start).seconds)
        return try finished + grow()
    }

    /// Noised latents of a chunk of frames [1, C, F, h, w], and where its denoising starts.
    private func encode(_ chunk: [VideoFrame]) throws -> (Tensor, Int?) {
        let video = try tensor(
            of: chunk,
            height: options.height,
            width: options.width,
            dtype: model.dtype,
            device: model.device
        )
        let noise = try controller.next(video.selected(0, 0))
        var latents = try model.vae.encode(video, state: &encoder)
        if options.configuration.normalizesLatents {
            latents = try model.vae.normalized(latents)
        }
        let random = try Tensor.randn(latents.shape, generator, model.dtype, model.device)
        return (try random * noise.scale + latents * (1 - noise.scale), noise.firstTimestep)
    }

    private func denoise(_ latents: Tensor, firstTimestep: Int?) throws -> Tensor? {
        guard isPrepared else {
            isPrepared = true
            return try denoiser.prepare(latents, text: text, nextFrames: framesPerChunk / 4)
        }
        return try denoiser.denoise(latents, firstTimestep: firstTimestep, text: text)
    }

    private func decode(_ clean: Tensor) throws -> [VideoFrame] {
        let start = ContinuousClock.now
        defer { seconds.decode += (ContinuousClock.now - start).seconds }
        // The transformer's results are normalised, whatever its input was.
        let latents = try model.vae.denormalized(clean)
        return try SwanPipelines.frames(of: model.vae.decode(latents, state: &decoder))
    }

    /// Chunks that are still on their way.
    private func drain() throws -> [VideoFrame] {
        var rest: [VideoFrame] = []
        while true {
            let start = ContinuousClock.now
            let clean = try denoiser.drain(text: text)
            seconds.denoise += (ContinuousClock.now - start).seconds
            guard let clean else { return rest }
            rest += try decode(clean)
        }
    }

    /// Hands frames on, but never more than came in: the padding of the last chunk stays here.
    private func give(_ frames: [VideoFrame]) -> [VideoFrame] {
        let given = Array(frames.prefix(framesIn - framesOut))
        framesOut += given.count
        return given
    }

    private func noise(frames: Int) throws(TorchError) -> Tensor {
        let stride = model.vae.config.spatialStride
        return try .randn(
            [
                1, model.transformer.config.inDim, frames, options.height / stride,
                options.width / stride,
            ],
            generator,
            model.dtype,
            model.device
        )
    }

    /// Makes chunks as long as the cache allows when the stream falls behind its target.
    ///
    /// Once, after the first few chunks: longer chunks cost latency and give throughput. The chunks on
    /// their way are finished first, so that all rows have the same past.
    private func grow() throws -> [VideoFrame] {
        guard let target = options.targetFPS, !hasGrown,
            chunkSeconds.count == 3 + options.configuration.steps.count
        else { return [] }
        hasGrown = true
        let recent = chunkSeconds.suffix(3).reduce(0, +)
        let fps = Double(3 * framesPerChunk) / recent
        let configuration = options.configuration
        let largest =
            4
            * max(
                configuration.framesPerBlock,
                configuration.cacheFrames - configuration.sinkFrames - 1
            )
        guard fps < target, largest > framesPerChunk else { return [] }
        log.info(
            "chunks of \(largest) frames from here on: \(fps) frames a second is under the target \(target)"
        )
        let rest = try drain()
        denoiser.changeChunk(frames: largest / 4)
        framesPerChunk = largest
        return rest
    }
}

extension Duration {
    /// As a number of seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
