import SwanCheckpoints
package import SwanDistributed
import SwanMedia
package import SwanModels
package import SwanSystem
import SwanThreads
package import Torch
import TorchNN

/// A stream of random latents through a transformer, on one process or by blocks over ranks: what a
/// benchmark measures of a stream without its encoders.
///
/// All rows of the stream batch are busy while it is measured. The frames are nothing but latents
/// made visible, so that they tell whether two ways compute the same.
package struct LatentStream: Sendable {
    /// What a run returns, on rank 0.
    package struct Outcome: Sendable {
        /// The seconds from one chunk to the next.
        package var intervals: [Double] = []
        /// The pixels of all frames.
        package var pixels: [UInt8] = []

        /// Nothing, as on other ranks.
        package init() {}
    }

    private let config: WanConfig
    private let options: StreamOptions
    private let load: StagedParts.LoadBlocks
    private let device: Device
    /// The number of intervals.
    private let rounds: Int

    /// The first chunk, which runs alone, and the first of a full batch.
    private static let warmUp = 2

    /// Describes a stream.
    ///
    /// - Parameters:
    ///   - size: The height and width of latents.
    ///   - steps: The number of denoising steps.
    ///   - rounds: The number of intervals to measure.
    ///   - load: Loads the transformer with some of its blocks.
    package init(
        _ config: WanConfig,
        size: (height: Int, width: Int),
        steps: Int,
        rounds: Int,
        device: Device,
        load: @escaping @Sendable (Range<Int>) throws(SwanError) -> CausalWanTransformer
    ) throws(SwanError) {
        var configuration = StreamConfiguration()
        guard rounds > 0, 1...configuration.steps.count ~= steps else {
            throw SwanError(
                .invalidArgument,
                "a stream of \(steps) steps, measured \(rounds) times: at least 1 each, and at most "
                    + "\(configuration.steps.count) steps"
            )
        }
        configuration.steps = Array(configuration.steps.prefix(steps))
        options = StreamOptions(
            configuration,
            height: LatentPictures.stride * size.height,
            width: LatentPictures.stride * size.width
        )
        (self.config, self.load, self.device, self.rounds) = (config, load, device, rounds)
    }

    /// The tokens of a forward: those of a chunk for each step.
    package var tokens: Int {
        let stride = LatentPictures.stride
        let frame = config.tokensPerFrame(
            height: options.height / stride,
            width: options.width / stride
        )
        return options.configuration.steps.count * options.configuration.framesPerBlock * frame
    }

    // MARK: - Input

    /// The chunks of a stream through `ranks` ranks: as many as are needed to measure full batches.
    private func chunks(_ ranks: Int) throws(SwanError) -> [Tensor] {
        let inFlight = ranks * (options.configuration.steps.count - 1)
        let random = try Generator(seed: 2)
        let (height, width) = (
            options.height / LatentPictures.stride, options.width / LatentPictures.stride
        )
        var chunks: [Tensor] = []
        for index in 0..<(Self.warmUp + rounds + inFlight) {
            // The first chunk has one latent frame more, as in a stream of frames.
            let frames = options.configuration.framesPerBlock + (index == 0 ? 1 : 0)
            chunks.append(try .randn([1, config.inDim, frames, height, width], random).to(device))
        }
        return chunks
    }

    private func text() throws(SwanError) -> Tensor {
        try .randn([1, config.textLen, config.textDim], Generator(seed: 3)).to(device)
    }

    /// The intervals of full batches, from the times at which chunks were finished.
    private func intervals(_ times: [ContinuousClock.Instant]) -> [Double] {
        zip(times, times.dropFirst()).dropFirst(Self.warmUp - 1).prefix(rounds)
            .map { ($1 - $0).seconds }
    }

    // MARK: - Running

    /// Runs the stream on this process alone.
    ///
    /// - Parameter ranks: The number of ranks of the run to compare with, for as many chunks.
    package func alone(comparedWith ranks: Int) throws -> Outcome {
        let transformer = try load(0..<config.layers)
        let setup = try StageSetup(sizes, options)
        let decoder = try DecodeStage(pictures, options: options, clock: .continuous)
        var outcome = Outcome()
        var times: [ContinuousClock.Instant] = []
        try inference {
            var denoiser = try SingleStreamDenoiser(
                transformer,
                setup.plan,
                cache: setup.cache,
                tokensPerFrame: setup.tokensPerFrame,
                device: device
            )
            let text = try transformer.text(text())
            func finish(_ latents: Tensor?) throws {
                guard let latents else { return }
                let mark = ChunkMark(captureTimes: nil, completion: .now)
                let chunk = try decoder.decode(CleanChunk(latents: latents, mark: mark))
                outcome.pixels += chunk.frames.flatMap(\.pixels)
                times.append(.now)
            }
            for chunk in try chunks(ranks) { try finish(denoiser.denoise(chunk, text: text)) }
            while let latents = try denoiser.drain(text: text) { try finish(latents) }
        }
        outcome.intervals = intervals(times)
        return outcome
    }

    /// Runs the stream with the blocks divided among ranks. All ranks call this together; rank 0
    /// returns what came out.
    package func over(_ world: World) throws -> Outcome {
        let layout = StagedOptions()
        let roles = try StagedRoles(layout, size: world.size)
        let staged = try StagedStream(StagedGroups(world), roles, layout, sizes, options)
        let map = try BlockMap(blocks: config.layers, ranks: roles.stages.count)
        let parts = StagedParts(
            try load(map[world.rank]),
            vae: world.rank == roles.decoder ? pictures : nil,
            map: map,
            load: load
        )
        guard world.rank == 0 else {
            try staged.serve(parts)
            return Outcome()
        }
        try staged.start(parts)
        do {
            return try drive(staged, world.size)
        } catch {
            staged.abandon(error)
            try staged.finish()
            throw error
        }
    }

    /// Sends chunks as fast as the pipeline takes them, and collects what comes back.
    private func drive(_ staged: StagedStream, _ ranks: Int) throws -> Outcome {
        let (input, output) = try staged.outside
        var prompt = StageMessage(.text)
        prompt.tensors = [try text()]
        _ = input.put(prompt)
        var waiting = try chunks(ranks)[...]
        func send() {
            guard let latents = waiting.popFirst() else { return }
            var message = StageMessage(.chunk)
            message.tensors = [latents]
            message.rows = [StageMessage.Row(chunk: 0, start: 0, step: 0, prompt: 0)]
            _ = input.put(message)
            if waiting.isEmpty { _ = input.put(StageMessage(.end)) }
        }
        for _ in 0..<staged.mostChunks { send() }
        var outcome = Outcome()
        var times: [ContinuousClock.Instant] = []
        while let message = output.take(), message.kind == .frames {
            outcome.pixels += try message.decodedFrames().frames.flatMap(\.pixels)
            times.append(.now)
            send()
        }
        try staged.finish()
        outcome.intervals = intervals(times)
        return outcome
    }

    private var pictures: LatentPictures {
        LatentPictures(latentChannels: config.outDim, device: device)
    }

    private var sizes: StagedSizes {
        StagedSizes(
            config: config,
            strides: (LatentPictures.stride, LatentPictures.frames),
            dtype: .float32,
            device: device
        )
    }
}

extension StagedParts {
    /// The parts of a stream that brings its own chunks and texts.
    fileprivate init(
        _ transformer: CausalWanTransformer,
        vae: (any VideoAutoencoder)?,
        map: BlockMap,
        load: @escaping LoadBlocks
    ) {
        model = nil
        (self.transformer, self.vae) = (transformer, vae)
        (self.map, self.load) = (map, load)
    }
}
