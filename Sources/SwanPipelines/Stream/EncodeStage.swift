import SwanMedia
import SwanModels
import SwanSchedulers
import SwanSystem
import Synchronization
import Torch
import SwanCheckpoints

/// Collects frames into chunks, encodes them to latents and mixes in noise.
///
/// Each stage of a stream has its own state and passes chunks to the next, so stages can run
/// sequentially or concurrently, each on one thread at a time.
final class EncodeStage: Sendable {
    /// State that only encoding uses; locked while a chunk is encoded.
    private struct Work: ~Copyable {
        var encoder: any VideoEncoder
        var controller: NoiseController
        var random: StreamNoise
        var fit: FrameFit
        var scenes: SceneFrames
        /// Nil for models whose still parts are shown as they are.
        var stillness: Stillness?
        /// The shares of frames that no chunk returns yet.
        var shares: [Tensor] = []
        var chunks = 0
        /// The prompt of the last chunk.
        var prompt = 0
        /// The chunks of the current shot of a stream from noise, and its prompt.
        var shotChunks = 0
        var shotPrompt = 0
    }

    /// State that other threads access while a chunk is encoded.
    private struct Shared {
        var framesPerChunk: Int
        var framesIn = 0
        var seconds = 0.0
    }

    private let model: StreamModel
    private let options: StreamOptions
    /// Returns the number of the newest prompt.
    private let markPrompt: @Sendable () -> Int
    private let clock: StreamClock
    private let work: Mutex<Work>
    private let shared: Mutex<Shared>

    init<Conditioning>(
        _ model: StreamModel,
        options: StreamOptions,
        prompts: StreamPrompts<Conditioning>,
        clock: StreamClock
    ) throws {
        self.model = model
        self.options = options
        markPrompt = { prompts.mark() }
        self.clock = clock
        let configuration = options.configuration
        let controller = try NoiseController(
            initialScale: configuration.noiseScale,
            isFixed: options.settings.fixedNoise,
            timestepOffset: configuration.timestepOffset
        )
        let encoder = try model.vae.makeEncoder(normalizing: configuration.normalizesLatents)
        let scenes = SceneFrames(
            more: configuration.repeatsFirstFrame ? 0 : 1,
            lookahead: model.vae.lookahead,
            findsCuts: options.settings.cuts == .auto
        )
        work = Mutex(
            Work(
                encoder: encoder,
                controller: controller,
                random: Self.noise(model, configuration, seed: options.settings.seed),
                fit: options.fit,
                scenes: scenes,
                stillness: configuration.stillFrames.map { Stillness(frames: $0) }
            )
        )
        shared = Mutex(
            Shared(
                framesPerChunk: model.vae.temporalStride * configuration.framesPerBlock
            )
        )
    }

    private static func noise(
        _ model: StreamModel,
        _ configuration: StreamConfiguration,
        seed: UInt64
    ) -> StreamNoise {
        StreamNoise(
            seed: seed,
            kind: configuration.noise,
            dtype: model.dtype,
            device: model.device
        )
    }

    /// The frames that a latent frame stands for.
    var temporalStride: Int { model.vae.temporalStride }
    /// The number of latent frames of a chunk of noise.
    var latentFrames: Int { options.configuration.framesPerBlock }
    var framesIn: Int { shared.withLock { $0.framesIn } }
    var seconds: Double { shared.withLock { $0.seconds } }
    /// The cuts that were found so far.
    var cuts: Int { work.withLock { $0.scenes.cuts } }

    /// The number of frames in chunks after the first; a change does not affect complete chunks.
    var framesPerChunk: Int {
        get { shared.withLock { $0.framesPerChunk } }
        set { shared.withLock { $0.framesPerChunk = newValue } }
    }

    /// The number of frames that the next chunk still needs.
    var framesNeeded: Int {
        work.withLock { $0.scenes.needed(size: framesPerChunk) }
    }

    /// The number of frames that have been added and are in no chunk's output yet.
    var framesLeft: Int { work.withLock { $0.scenes.left } }

    /// Changes settings from the next chunk on; `nil` keeps one.
    func change(
        noiseScale: Double? = nil,
        fixedNoise: Bool? = nil,
        seed: UInt64? = nil,
        fit: FrameFit? = nil
    ) throws(SwanError) {
        try work.withLock { work throws(SwanError) in
            if noiseScale != nil || fixedNoise != nil {
                try work.controller.change(
                    initialScale: noiseScale ?? work.controller.initialScale,
                    isFixed: fixedNoise ?? work.controller.isFixed
                )
            }
            if let seed {
                work.random = Self.noise(model, options.configuration, seed: seed)
            }
            if let fit { work.fit = fit }
        }
    }

    /// Adds a frame and returns the chunk that it completes, if any.
    func add(_ frame: TimedFrame) throws -> NoisedChunk? {
        try work.withLock { work in
            work.scenes.add(frame)
            shared.withLock { $0.framesIn += 1 }
            guard let chunk = work.scenes.take(size: framesPerChunk) else { return nil }
            return try encode(&work, chunk)
        }
    }

    /// Returns a chunk of the remaining frames, padded, or `nil` when there are none left, which
    /// takes a few chunks.
    func finish() throws -> NoisedChunk? {
        try work.withLock { work in
            guard let chunk = work.scenes.take(size: framesPerChunk, atEnd: true) else {
                return nil
            }
            return try encode(&work, chunk)
        }
    }

    /// Returns a chunk of pure noise, for a stream without an input.
    func noise() throws -> NoisedChunk {
        try work.withLock { work in
            let stride = model.vae.spatialStride
            let shape = [
                1, model.transformer.config.inDim, latentFrames,
                options.height / stride, options.width / stride,
            ]
            let key = NoiseKey(chunk: work.chunks, step: 0)
            var mark = ChunkMark(captureTimes: nil, completion: clock.now())
            let prompt = markPrompt()
            (mark.startsShot, mark.endsShot) = countInShot(&work, prompt: prompt)
            work.chunks += 1
            var random = work.random
            random.kind = .fresh
            let latents = try inference { try random(shape, key) }
            return NoisedChunk(
                latents: latents,
                firstTimestep: nil,
                prompt: prompt,
                mark: mark
            )
        }
    }

    /// Counts a chunk of noise, and says whether it begins or ends a shot: as long as the model's
    /// videos, or until the prompt changes. The first chunk begins one in any case.
    private func countInShot(_ work: inout Work, prompt: Int) -> (starts: Bool, ends: Bool) {
        let length = options.configuration.shotFrames
        func isOver() -> Bool { length.map { work.shotChunks * latentFrames >= $0 } ?? false }
        let starts = work.chunks == 0 || isOver() || length != nil && prompt != work.shotPrompt
        if starts { (work.shotChunks, work.shotPrompt) = (0, prompt) }
        work.shotChunks += 1
        return (starts, isOver())
    }

    private func encode(_ work: inout Work, _ chunk: ChunkFrames) throws -> NoisedChunk {
        let start = clock.now()
        let prompt = markPrompt()
        var mark = ChunkMark(captureTimes: chunk.captureTimes, completion: chunk.completion)
        if chunk.isFirst, work.chunks > 0 {
            mark.startsScene = true
            try inference { () throws(SwanError) in try beginScene(&work) }
        }
        var frames = chunk.frames
        if chunk.isFirst, options.configuration.repeatsFirstFrame {
            // A video's first latent represents a single frame.
            frames.insert(frames[0], at: 0)
            mark.leadFrames = 1
        }
        // A new look shows at once, also where the input stands still.
        if prompt != work.prompt { work.stillness?.restart() }
        work.prompt = prompt
        let (latents, firstTimestep) = try inference { try noised(frames, &work) }
        if !work.shares.isEmpty {
            work.shares.removeFirst(mark.leadFrames)
            mark.shares = Array(work.shares.prefix(chunk.captureTimes.count))
            work.shares.removeFirst(mark.shares.count)
        }
        work.chunks += 1
        mark.seconds.encode = clock.seconds(since: start)
        shared.withLock { $0.seconds += mark.seconds.encode }
        return NoisedChunk(
            latents: latents,
            firstTimestep: firstTimestep,
            prompt: prompt,
            mark: mark
        )
    }

    /// Forgets the past at a cut.
    private func beginScene(_ work: inout Work) throws(SwanError) {
        work.encoder = try model.vae.makeEncoder(
            normalizing: options.configuration.normalizesLatents
        )
        work.controller.restart()
        work.stillness?.restart()
        work.shares = []
    }

    /// Returns a chunk's noised latents [1, C, F, h, w] and the timestep where denoising starts.
    private func noised(_ frames: [VideoFrame], _ work: inout Work) throws -> (Tensor, Int?) {
        let video = try tensor(
            of: frames,
            height: options.height,
            width: options.width,
            fit: work.fit,
            pixelAspect: options.pixelAspect,
            dtype: model.dtype,
            device: model.device
        )
        if let shares = try work.stillness?.next(video) { work.shares += shares }
        let noise = try work.controller.next(video.selected(0, 0))
        let latents = try work.encoder.encode(video)
        let key = NoiseKey(chunk: work.chunks, step: 0)
        let mixed = try work.random(latents.shape, key) * noise.scale + latents * (1 - noise.scale)
        return (mixed, noise.firstTimestep)
    }
}
