import SwanModels
import SwanSchedulers
import SwanSystem
import Synchronization
import Torch
import SwanCheckpoints

/// Denoises latents and tracks the chunks in flight.
final class DenoiseStage: Sendable {
    private struct State: ~Copyable {
        var denoiser: SingleStreamDenoiser
        /// The chunks in flight, oldest first.
        var marks: [ChunkMark] = []
        /// What the rows are made to look like; `nil` before the first chunk.
        var look: StreamLook?
        var latentFrames: Int
        var seconds = 0.0
    }

    /// The size of the KV cache in bytes.
    let cacheByteCount: Int
    private let prompts: StreamPrompts<StreamLook>
    private let clock: StreamClock
    private let state: Mutex<State>

    init(
        _ model: StreamModel,
        options: StreamOptions,
        prompts: StreamPrompts<StreamLook>,
        clock: StreamClock
    ) throws {
        self.prompts = prompts
        self.clock = clock
        let configuration = options.configuration
        let stride = model.vae.spatialStride
        let denoiser = try SingleStreamDenoiser(
            model.transformer,
            try DenoisingPlan(options, dtype: model.dtype, device: model.device),
            cache: KVCacheOptions(configuration),
            tokensPerFrame: model.transformer.config.tokensPerFrame(
                height: options.height / stride,
                width: options.width / stride
            ),
            dtype: model.dtype,
            device: model.device
        )
        cacheByteCount = denoiser.cacheByteCount
        state = Mutex(State(denoiser: denoiser, latentFrames: configuration.framesPerBlock))
    }

    var seconds: Double { state.withLock { $0.seconds } }

    /// Denoises a chunk and returns the chunks that this completes.
    ///
    /// Before the chunk length changes, all chunks in flight are completed, so that all rows of the
    /// stream batch have the same history.
    ///
    /// - Parameter isAborted: Called before each step; after `true`, nothing more is completed.
    func denoise(
        _ chunk: NoisedChunk,
        isAborted: @Sendable () -> Bool = { false }
    ) throws -> [CleanChunk] {
        try state.withLock { state in
            guard !isAborted() else { return [] }
            var finished: [CleanChunk] = []
            let frames = chunk.latents.size(2)
            let isRunning = state.look != nil
            if isRunning, chunk.mark.startsScene || frames != state.latentFrames {
                finished = try drain(&state, isAborted)
                guard !isAborted() else { return [] }
                try change(&state, chunk)
            }
            let look = prompts.conditioning(of: chunk.prompt)
            state.look = look
            state.denoiser.transformer = look.transformer
            state.marks.append(chunk.mark)
            finished += try timed(&state) { state throws(SwanError) in
                try state.denoiser.denoise(
                    chunk.latents,
                    firstTimestep: chunk.firstTimestep,
                    startsShot: chunk.mark.startsShot,
                    endsShot: chunk.mark.endsShot,
                    text: look.text,
                    isAborted: isAborted
                )
            }
            return finished
        }
    }

    /// Changes the chunk length, or begins a scene, with no chunk in flight.
    private func change(_ state: inout State, _ chunk: NoisedChunk) throws(SwanError) {
        let frames = chunk.latents.size(2)
        if chunk.mark.startsScene {
            // A scene's first latent is one more.
            state.latentFrames = frames - 1
            try state.denoiser.restart(framesPerChunk: frames - 1)
        } else {
            try state.denoiser.changeChunk(frames: frames)
            state.latentFrames = frames
        }
    }

    /// Completes and returns the chunks that are still in flight.
    func drain(isAborted: @Sendable () -> Bool = { false }) throws -> [CleanChunk] {
        try state.withLock { state in try drain(&state, isAborted) }
    }

    private func drain(
        _ state: inout State,
        _ isAborted: @Sendable () -> Bool
    ) throws -> [CleanChunk] {
        guard let look = state.look else { return [] }
        var finished: [CleanChunk] = []
        while !state.marks.isEmpty, !isAborted() {
            let next = try timed(&state) { state throws(SwanError) in
                try state.denoiser.drain(text: look.text, isAborted: isAborted)
            }
            if next.isEmpty { break }
            finished += next
        }
        return finished
    }

    /// Measures `body`, whose result belongs to the oldest chunk in flight.
    private func timed(
        _ state: inout State,
        _ body: (inout State) throws(SwanError) -> Tensor?
    ) throws -> [CleanChunk] {
        let start = clock.now()
        let latents = try inference { () throws(SwanError) in try body(&state) }
        let seconds = clock.seconds(since: start)
        state.seconds += seconds
        guard let latents else { return [] }
        var mark = state.marks.removeFirst()
        mark.seconds.denoise = seconds
        return [CleanChunk(latents: latents, mark: mark)]
    }
}

extension KVCacheOptions {
    /// Creates the options of a model's configuration.
    init(_ configuration: StreamConfiguration) {
        self.init(
            frames: configuration.cacheFrames,
            sinkFrames: configuration.sinkFrames,
            sinkThreshold: configuration.sinkThreshold,
            endsClean: configuration.contextNoise != nil
        )
    }
}

extension DenoisingPlan {
    /// Creates the plan for a stream's options.
    init(_ options: StreamOptions, dtype: DType, device: Device) throws {
        let configuration = options.configuration
        let random = StreamNoise(
            seed: options.settings.seed,
            kind: configuration.noise,
            dtype: dtype,
            device: device
        )
        let schedule = try FlowMatch(.streaming(shift: configuration.shift))
        self.init(
            schedule: schedule,
            steps: try schedule.denoisingSteps(
                configuration.steps.last == 0 ? configuration.steps : configuration.steps + [0],
                warped: configuration.warpsSteps,
                keepingZero: configuration.steps.last == 0
            ),
            streamBatch: options.settings.streamBatch,
            contextTimestep: configuration.contextNoise.map(Double.init),
            framesPerChunk: configuration.framesPerBlock,
            noise: { shape, key throws(SwanError) in try random(shape, key) }
        )
    }
}
