import SwanMedia
import SwanModels
import SwanSchedulers
import SwanText
import Synchronization
import Torch

// The three stages of a stream. Each has a state of its own and chunks go from one to the next, so
// that they may run one after the other or side by side, each on one thread at a time.

/// A chunk that waits to be denoised.
struct NoisedChunk: Sendable {
    /// [1, C, F, h, w]
    let latents: Tensor
    /// The timestep of the first step from this chunk on, if it changes.
    let firstTimestep: Int?
    /// Which prompt it is for: that of when the chunk was complete; see `StreamPrompts`.
    let prompt: Int
    let mark: ChunkMark
}

/// A chunk that waits to be decoded.
struct CleanChunk: Sendable {
    /// [1, C, F, h, w], normalised.
    let latents: Tensor
    let mark: ChunkMark
}

/// What travels with a chunk.
struct ChunkMark: Sendable {
    /// Frames that are wanted of it; the rest is padding.
    let frameCount: Int
    /// When its last frame had arrived.
    let arrival: ContinuousClock.Instant
    /// What it has cost.
    var seconds = StageSeconds()
}

// MARK: - Frames to noised latents

/// Collects frames to chunks, encodes them, and mixes noise in.
final class EncodeStage: Sendable {
    /// What only a chunk's encoding touches, held for as long as that takes.
    private struct Work: ~Copyable {
        let encoder: any VideoEncoder
        var controller: NoiseController
        var pending: [VideoFrame] = []
        /// The last frame taken, which fills up the last chunk.
        var last: VideoFrame?
        /// Frames taken that no chunk so far is to give back.
        var owed = 0
        var chunks = 0
    }

    /// What others read and set meanwhile.
    private struct Shared {
        var framesPerChunk: Int
        var framesIn = 0
        var seconds = 0.0
    }

    private let model: StreamModel
    private let options: StreamOptions
    private let random: StreamNoise
    private let prompts: StreamPrompts
    private let work: Mutex<Work>
    private let shared: Mutex<Shared>

    init(_ model: StreamModel, options: StreamOptions, prompts: StreamPrompts) throws {
        self.model = model
        self.options = options
        self.prompts = prompts
        random = StreamNoise(seed: options.seed, dtype: model.dtype, device: model.device)
        let configuration = options.configuration
        let controller = try NoiseController(
            initialScale: configuration.noiseScale,
            isFixed: options.fixedNoise,
            timestepOffset: configuration.timestepOffset
        )
        let encoder = try model.vae.makeEncoder(normalizing: configuration.normalizesLatents)
        work = Mutex(Work(encoder: encoder, controller: controller))
        shared = Mutex(Shared(framesPerChunk: 4 * configuration.framesPerBlock))
    }

    var framesIn: Int { shared.withLock { $0.framesIn } }
    var seconds: Double { shared.withLock { $0.seconds } }

    /// Frames of the chunks after the first; those that are complete stay as they are.
    var framesPerChunk: Int {
        get { shared.withLock { $0.framesPerChunk } }
        set { shared.withLock { $0.framesPerChunk = newValue } }
    }

    /// Takes a frame; returns the chunk that it completes.
    func take(_ frame: VideoFrame) throws -> NoisedChunk? {
        try work.withLock { work in
            work.pending.append(frame)
            work.last = frame
            work.owed += 1
            shared.withLock { $0.framesIn += 1 }
            let size = nextSize(work)
            return work.pending.count < size ? nil : try encode(&work, size)
        }
    }

    /// The frames that are left, padded to a chunk; nil when there are none, after one or two chunks.
    func finish() throws -> NoisedChunk? {
        try work.withLock { work in
            work.owed == 0 ? nil : try encode(&work, nextSize(work))
        }
    }

    /// A chunk with nothing but noise, for a stream without an input.
    func noise() throws -> NoisedChunk {
        try work.withLock { work in
            let stride = model.vae.spatialStride
            let shape = [
                1, model.transformer.config.inDim, options.configuration.framesPerBlock,
                options.height / stride, options.width / stride,
            ]
            let key = NoiseKey(chunk: work.chunks, step: 0)
            work.chunks += 1
            let latents = try inference { try random(shape, key) }
            return NoisedChunk(
                latents: latents,
                firstTimestep: nil,
                prompt: prompts.mark(),
                mark: ChunkMark(frameCount: .max, arrival: .now)
            )
        }
    }

    /// A video's first latent stands for one frame, which the first chunk has more than others. An
    /// encoder that looks ahead has to have seen those frames too, from there on.
    private func nextSize(_ work: borrowing Work) -> Int {
        work.chunks == 0 ? framesPerChunk + 1 + model.vae.lookahead : framesPerChunk
    }

    private func encode(_ work: inout Work, _ size: Int) throws -> NoisedChunk {
        let start = ContinuousClock.now
        let prompt = prompts.mark()
        var frames = work.pending
        work.pending = []
        if let last = work.last {
            frames += Array(repeating: last, count: max(0, size - frames.count))
        }
        let count = min(work.owed, work.chunks == 0 ? size - model.vae.lookahead : size)
        work.owed -= count
        let (latents, firstTimestep) = try inference { try noised(frames, &work) }
        work.chunks += 1
        var mark = ChunkMark(frameCount: count, arrival: start)
        mark.seconds.encode = (ContinuousClock.now - start).seconds
        shared.withLock { $0.seconds += mark.seconds.encode }
        return NoisedChunk(
            latents: latents,
            firstTimestep: firstTimestep,
            prompt: prompt,
            mark: mark
        )
    }

    /// Noised latents of a chunk of frames [1, C, F, h, w], and where its denoising starts.
    private func noised(_ frames: [VideoFrame], _ work: inout Work) throws -> (Tensor, Int?) {
        let video = try tensor(
            of: frames,
            height: options.height,
            width: options.width,
            fit: options.fit,
            pixelAspect: options.pixelAspect,
            dtype: model.dtype,
            device: model.device
        )
        let noise = try work.controller.next(video.selected(0, 0))
        let latents = try work.encoder.encode(video)
        let key = NoiseKey(chunk: work.chunks, step: 0)
        let mixed = try random(latents.shape, key) * noise.scale + latents * (1 - noise.scale)
        return (mixed, noise.firstTimestep)
    }
}

// MARK: - Noised latents to clean ones

/// The denoiser, and which chunks are on their way through it.
final class DenoiseStage: Sendable {
    private struct State: ~Copyable {
        var denoiser: SingleStreamDenoiser
        /// The oldest first.
        var marks: [ChunkMark] = []
        /// What the rows attend to; nil before the first chunk.
        var conditioning: TextConditioning?
        var latentFrames: Int
        var seconds = 0.0
    }

    /// Bytes of the KV cache.
    let cacheByteCount: Int
    private let prompts: StreamPrompts
    private let state: Mutex<State>

    init(_ model: StreamModel, options: StreamOptions, prompts: StreamPrompts) throws {
        self.prompts = prompts
        let configuration = options.configuration
        let (dtype, device) = (model.dtype, model.device)
        let noise = StreamNoise(seed: options.seed, dtype: dtype, device: device)
        let schedule = try FlowMatch(.streaming(shift: configuration.shift))
        let stride = model.vae.spatialStride
        let denoiser = try SingleStreamDenoiser(
            model.transformer,
            schedule: schedule,
            steps: schedule.denoisingSteps(
                configuration.steps + [0],
                warped: configuration.warpsSteps
            ),
            streamBatch: options.streamBatch,
            framesPerChunk: configuration.framesPerBlock,
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
            noise: { shape, key throws(TorchError) in try noise(shape, key) }
        )
        cacheByteCount = denoiser.cacheByteCount
        state = Mutex(State(denoiser: denoiser, latentFrames: configuration.framesPerBlock))
    }

    var seconds: Double { state.withLock { $0.seconds } }

    /// Takes a chunk; returns those that are finished by it.
    ///
    /// Before chunks change their length, those on their way are finished, so that all rows of the
    /// stream batch have the same past.
    func denoise(_ chunk: NoisedChunk) throws -> [CleanChunk] {
        try state.withLock { state in
            var finished: [CleanChunk] = []
            let frames = chunk.latents.size(2)
            if state.conditioning != nil, frames != state.latentFrames {
                finished = try drain(&state)
                try state.denoiser.changeChunk(frames: frames)
                state.latentFrames = frames
            }
            let conditioning = prompts.conditioning(of: chunk.prompt)
            state.conditioning = conditioning
            state.marks.append(chunk.mark)
            finished += try timed(&state) { state throws(TorchError) in
                try state.denoiser.denoise(
                    chunk.latents,
                    firstTimestep: chunk.firstTimestep,
                    text: conditioning
                )
            }
            return finished
        }
    }

    /// The chunks that are still on their way.
    func drain() throws -> [CleanChunk] {
        try state.withLock { state in try drain(&state) }
    }

    private func drain(_ state: inout State) throws -> [CleanChunk] {
        guard let conditioning = state.conditioning else { return [] }
        var finished: [CleanChunk] = []
        while !state.marks.isEmpty {
            let next = try timed(&state) { state throws(TorchError) in
                try state.denoiser.drain(text: conditioning)
            }
            if next.isEmpty { break }
            finished += next
        }
        return finished
    }

    /// What `body` gives belongs to the oldest chunk on its way.
    private func timed(
        _ state: inout State,
        _ body: (inout State) throws(TorchError) -> Tensor?
    ) throws -> [CleanChunk] {
        let start = ContinuousClock.now
        let latents = try inference { () throws(TorchError) in try body(&state) }
        let taken = (ContinuousClock.now - start).seconds
        state.seconds += taken
        guard let latents else { return [] }
        var mark = state.marks.removeFirst()
        mark.seconds.denoise = taken
        return [CleanChunk(latents: latents, mark: mark)]
    }
}

// MARK: - Clean latents to frames

/// Decodes chunks, and knows how long they took.
final class DecodeStage: Sendable {
    private struct State: ~Copyable {
        let decoder: any VideoDecoder
        var framesOut = 0
        var seconds = 0.0
        var chunkSeconds: [Double] = []
        var lastCost = StageSeconds()
    }

    private let options: StreamOptions
    private let state: Mutex<State>

    init(_ model: StreamModel, options: StreamOptions) throws(TorchError) {
        self.options = options
        state = Mutex(State(decoder: try model.vae.makeDecoder()))
    }

    var framesOut: Int { state.withLock { $0.framesOut } }
    var seconds: Double { state.withLock { $0.seconds } }
    /// From the arrival of each chunk's last frame until its frames were finished.
    var chunkSeconds: [Double] { state.withLock { $0.chunkSeconds } }
    /// What the last chunk cost.
    var lastCost: StageSeconds { state.withLock { $0.lastCost } }

    func decode(_ chunk: CleanChunk) throws -> [VideoFrame] {
        try state.withLock { state in
            let start = ContinuousClock.now
            let frames = try inference {
                // The transformer's results are normalised, whatever its input was.
                let video = try state.decoder.decode(chunk.latents)
                // As bytes they would be black. Their device is waited for now anyway.
                guard try video.isAllFinite() else {
                    throw TorchError(
                        .invalidWeights,
                        "the model's frames are not finite (NaN or infinite), though all of its weights "
                            + "are: their numbers are far from those of a trained model, or leave the "
                            + "range of its dtype (try float32)"
                    )
                }
                return try SwanPipelines.frames(of: video)
            }
            let end = ContinuousClock.now
            state.lastCost = chunk.mark.seconds
            state.lastCost.decode = (end - start).seconds
            state.seconds += state.lastCost.decode
            state.chunkSeconds.append((end - chunk.mark.arrival).seconds)
            let given = frames.prefix(chunk.mark.frameCount)
            state.framesOut += given.count
            guard let width = options.outputWidth, let height = options.outputHeight else {
                return Array(given)
            }
            return given.map { $0.centered(width: width, height: height) }
        }
    }
}
