import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Torch
import TorchNN

@testable import SwanPipelines

/// A small model with eight blocks, and streams of it on one rank and on several.
struct StagedFixture: Sendable {
    /// A stream to compare.
    struct Script: Sendable {
        var steps = 2
        var chunks = 40
        var streamBatch = true
        var cacheFrames = 6
        var sinkFrames = 2
        var sinkThreshold = -1.0
        var framesPerBlock = 1
        var height = 32
        /// Frames that do not fill the last chunk.
        var moreFrames = 0
        /// Whether the noise follows the motion, so that the first timestep changes.
        var followsMotion = true
        var targetFPS: Double?
        /// The frames from one cut to the next; nil for none that are meant.
        var sceneLength: Int?
        var prompts = [9: "neon edges", 41: "a pencil sketch", 44: "the city at night"]

        var frameCount: Int { 1 + 4 * framesPerBlock * chunks + moreFrames }
    }

    let model: StreamModel
    private let weights: DictionaryWeights

    /// - Parameter codes: Whether frames are made by the autoencoder of small models, instead of one
    ///   that shows the latents' bits.
    init(codes: Bool = false) throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        let tiny = try StreamModel.load(folder.url.path, dtype: .float32, device: .cpu)
        var config = TinyModel.transformer
        config.layers = 8
        let source = try MadeWeights.random(seed: 5)
        let transformer = try CausalWanTransformer(Weights(source), config)
        weights = DictionaryWeights(source.tensors)
        model = StreamModel(
            name: "staged",
            StreamModel.Networks(
                transformer: transformer,
                vae: codes ? tiny.vae : BitAutoencoder(),
                textEncoder: tiny.textEncoder,
                tokenizer: tiny.tokenizer
            ),
            configuration: tiny.configuration
        )
    }

    /// The transformer with some of its blocks.
    func load(_ blocks: Range<Int>) throws(SwanError) -> CausalWanTransformer {
        try CausalWanTransformer(Weights(weights), model.transformer.config, blocks: blocks)
    }

    func options(_ script: Script) -> StreamOptions {
        var configuration = model.configuration
        configuration.steps = [700, 500, 300, 100].suffix(script.steps)
        configuration.cacheFrames = script.cacheFrames
        configuration.sinkFrames = script.sinkFrames
        configuration.sinkThreshold = script.sinkThreshold
        configuration.framesPerBlock = script.framesPerBlock
        var options = StreamOptions(configuration, height: script.height, width: 32)
        options.settings.streamBatch = script.streamBatch
        options.settings.fixedNoise = !script.followsMotion
        options.settings.targetFPS = script.targetFPS
        options.settings.seed = 11
        options.settings.cuts = script.sceneLength == nil ? .off : .auto
        return options
    }

    // MARK: - Running

    /// The frames of one rank.
    func alone(_ script: Script) throws -> [VideoFrame] {
        try ComputeBudget(threads: 1).run {
            let stream = try VideoStream(model, prompt: "cats", options: options(script))
            return try frames(of: stream, script) { _ in }
        }
    }

    /// The frames of several ranks, and what any of them threw.
    func together(
        _ ranks: Int,
        _ script: Script,
        _ layout: StagedOptions = StagedOptions(),
        trial: StagedStream.Trial = StagedStream.Trial()
    ) throws -> [VideoFrame] {
        let results = try ThreadRanks.run(ranks) { world in
            try part(world, script, layout, trial: trial)
        }
        let frames = try results.map { try $0.get() }
        return frames[0]
    }

    /// One rank's part of a stream; rank 0 returns the frames.
    ///
    /// - Parameters:
    ///   - joined: Called when the rank has joined the others.
    ///   - loading: Called with the blocks that are loaded.
    ///   - delivered: Called on rank 0 with the number of frames so far, after each chunk.
    func part(
        _ world: World,
        _ script: Script,
        _ layout: StagedOptions = StagedOptions(),
        trial: StagedStream.Trial = StagedStream.Trial(),
        joined: (StagedStream) throws -> Void = { _ in },
        loading: @escaping @Sendable (Range<Int>) -> Void = { _ in },
        delivered: @escaping (Int) -> Void = { _ in }
    ) throws -> [VideoFrame] {
        let roles = try StagedRoles(layout, size: world.size)
        let staged = try StagedStream(
            StagedGroups(world),
            roles,
            layout,
            StagedSizes(
                config: model.transformer.config,
                strides: (8, 4),
                dtype: .float32,
                device: .cpu
            ),
            options(script),
            trial: trial
        )
        try joined(staged)
        let parts = try StagedParts(
            model,
            roles,
            layout,
            rank: world.rank,
            load: { blocks throws(SwanError) in
                loading(blocks)
                return try load(blocks)
            }
        )
        guard world.rank == 0 else {
            try staged.serve(parts)
            return []
        }
        let stream = try StagedVideoStream(staged, parts, prompt: "cats")
        return try frames(of: stream, script, delivered)
    }

    private func frames(
        of stream: any FileStreaming,
        _ script: Script,
        _ delivered: (Int) -> Void
    ) throws -> [VideoFrame] {
        let next = Mutex(0)
        let source = StreamSource(next: {
            let index = next.withLock { index in
                defer { index += 1 }
                return index
            }
            guard index < script.frameCount else { return nil }
            if let prompt = script.prompts[index] { _ = try stream.setPrompt(prompt) }
            guard let length = script.sceneLength else {
                return TimedFrame(try Self.picture(index))
            }
            let scene = DrawnFootage(width: 32, height: 32)
            return TimedFrame(try scene.texture(index / length % 4, right: Double(index)))
        })
        var frames: [VideoFrame] = []
        try stream.run(source) { chunk in
            frames += chunk.frames
            delivered(frames.count)
            return true
        }
        return frames
    }

    /// A picture that moves.
    static func picture(_ index: Int) throws -> VideoFrame {
        let pixels = (0..<32 * 32 * 3).map { place in
            UInt8(truncatingIfNeeded: (place / 3 + 5 * index) * (1 + index / 20))
        }
        return try VideoFrame(width: 32, height: 32, pixels: pixels)
    }
}
