import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSchedulers
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// Causal models that keep clean keys, and their videos.
@Suite(.timeLimit(.minutes(2))) struct CausalVideoTests {
    private let folder: TemporaryDirectory
    private var path: String { folder.path("model") }

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.path("model"))
        try configure()
    }

    /// Writes how the model streams.
    private func configure(
        steps: String = "[1000, 750, 400, 0]",
        cache: Int = 6,
        sinks: Int = 0,
        more: String = "context_noise: 0"
    ) throws {
        let text = """
            denoising_step_list: \(steps)
            timestep_shift: 3.0
            num_frame_per_block: 2
            num_kv_cache: \(cache)
            num_sink_tokens: \(sinks)
            noise_scale: 1.0
            normalize_latents: true
            cpu_dtype: float32
            height: 32
            width: 48
            fps: 16
            \(more)

            """
        try text.write(toFile: path + "/stream.yaml", atomically: true, encoding: .utf8)
        let generate = """
            {task: text-to-video, width: 48, height: 32, frames: 21, fps: 16, steps: 3, shift: 3,
             guidance: 1, negative_prompt: ''}
            """
        try generate.write(toFile: path + "/generate.yaml", atomically: true, encoding: .utf8)
    }

    /// A step at timestep 0 is for streams without an input, if the user or the model wants it.
    @Test func zeroIsAStepIfAsked() throws {
        let plain = try StreamCheckpoint(path).configuration
        try configure(more: "zero_step: true")
        let own = try StreamCheckpoint(path).configuration
        var settings = StreamSettings()
        settings.steps = 2
        #expect(
            try StreamOptions(plain, settings, fromText: true).configuration.steps == [1000, 750]
        )
        let options = try StreamOptions(own, settings, fromText: true)
        #expect(options.configuration.steps == [1000, 750, 0])
        #expect(try StreamOptions(own, settings).configuration.steps == [1000, 750])
        let plan = try DenoisingPlan(options, dtype: .float32, device: .cpu)
        #expect(plan.steps == [1000, 750, 0])
        settings.zeroStep = false
        #expect(
            try StreamOptions(own, settings, fromText: true).configuration.steps == [1000, 750]
        )
        settings.zeroStep = true
        #expect(
            try StreamOptions(plain, settings, fromText: true).configuration.steps == [
                1000, 750, 0,
            ]
        )
        let error = #expect(throws: SwanError.self) { try StreamOptions(plain, settings) }
        #expect(error?.message.contains("without an input") ?? false)
    }

    private func model() throws -> (StreamModel, StreamOptions) {
        let checkpoint = try StreamCheckpoint(path)
        var settings = StreamSettings()
        settings.seed = 5
        let options = try StreamOptions(checkpoint.configuration, settings)
        return (try checkpoint.load(.float32, .cpu), options)
    }

    // MARK: - Clean keys

    /// A window of the cache, and the chunks of a stream.
    struct View: Sendable, CustomTestStringConvertible {
        let cache, chunks: Int
        var sinks = 0
        var contextNoise = 0

        var testDescription: String {
            "\(chunks) chunks, \(cache) frames, \(sinks) sinks, noise \(contextNoise)"
        }
    }

    /// A stream gives what the training form gives on a past that is clean: also when a chunk fills
    /// the row, and when older ones are overwritten.
    @Test(
        arguments: [
            View(cache: 6, chunks: 3), View(cache: 8, chunks: 3), View(cache: 6, chunks: 6),
            View(cache: 4, chunks: 4), View(cache: 6, chunks: 6, sinks: 2),
            View(cache: 6, chunks: 4, contextNoise: 300),
        ]
    )
    func streamsMatchTheTrainingForm(view: View) throws {
        try configure(
            cache: view.cache,
            sinks: view.sinks,
            more: "context_noise: \(view.contextNoise)"
        )
        let (model, options) = try model()
        let plan = try DenoisingPlan(options, dtype: .float32, device: .cpu)
        #expect(!plan.streamBatch && plan.cacheRowCount == 1 && plan.passes == 4)
        try inference {
            let (text, _) = try model.conditioning("a red ball")
            var denoiser = try SingleStreamDenoiser(
                model.transformer,
                plan,
                cache: KVCacheOptions(options.configuration),
                tokensPerFrame: 6
            )
            var clean: [Tensor] = []
            var context: [Tensor] = []
            let shape = [1, 8, 2, 4, 6]
            for chunk in 0..<view.chunks {
                var x = try plan.noise(shape, NoiseKey(chunk: chunk, step: 0))
                let streamed = try #require(try denoiser.denoise(x, text: text))
                for (index, step) in plan.steps.enumerated() {
                    let past = Array(repeating: Double(view.contextNoise), count: 2 * chunk)
                    let flow = try model.transformer(
                        concatenated(context + [x], dim: 2),
                        timesteps: Tensor(past + [step, step], [1, 2 * chunk + 2]),
                        text: text,
                        framesPerBlock: 2,
                        window: view.cache,
                        sinks: view.sinks
                    ).narrowed(2, 2 * chunk, 2)
                    x = try plan.schedule.clean(fromFlow: flow, x, at: .all(step))
                    guard index + 1 < plan.steps.count else { break }
                    x = try noised(x, plan, chunk, index + 1, at: plan.steps[index + 1])
                }
                try expectClose(streamed, x, within: Tolerance(absolute: 2e-5, relative: 1e-5))
                clean.append(x)
                let level = Double(view.contextNoise)
                context.append(
                    level > 0 ? try noised(x, plan, chunk, plan.steps.count, at: level) : x
                )
            }
            #expect(clean.count == view.chunks)
        }
    }

    private func noised(
        _ clean: Tensor,
        _ plan: DenoisingPlan,
        _ chunk: Int,
        _ step: Int,
        at timestep: Double
    ) throws -> Tensor {
        let noise = try plan.noise(clean.shape, NoiseKey(chunk: chunk, step: step))
        return try plan.schedule.addNoise(clean, noise, at: .all(timestep))
    }

    // MARK: - Shots

    /// A stream begins anew after a shot: as many frames as the model's videos, and the second shot
    /// does not depend on the first.
    @Test func shotsBeginAnew() throws {
        try configure(more: "context_noise: 0\nshot_frames: 4")
        let (model, options) = try model()
        func frames(
            _ prompts: [String],
            at change: Int = 13,
            count: Int,
            expecting: [Int] = [0, 5, 13, 18]
        ) throws -> [VideoFrame] {
            let stream = try VideoStream(model, prompt: prompts[0], options: options)
            var (made, starts) = ([VideoFrame](), [Int]())
            try stream.generate(
                atLeast: count,
                willStart: {
                    if $0 == change, prompts.count > 1 { try stream.setPrompt(prompts[1]) }
                },
                isStopped: { false }
            ) { chunk in
                starts.append(made.count)
                made += chunk.frames
                return true
            }
            // 1 + 4, 8; the next shot likewise.
            #expect(starts == expecting)
            return made
        }
        let changed = try frames(["a red ball", "a city"], count: 26)
        let same = try frames(["a city"], count: 26)
        #expect(changed.count == 26)
        #expect(changed[..<13].map(\.pixels) != same[..<13].map(\.pixels))
        #expect(changed[13...].map(\.pixels) == same[13...].map(\.pixels))
        // Another prompt ends a shot.
        let early = try frames(
            ["a city", "a red ball"],
            at: 5,
            count: 18,
            expecting: [0, 5, 10]
        )
        #expect(early[..<5].map(\.pixels) == same[..<5].map(\.pixels))
        #expect(early.count == 18)
        try configure(more: "context_noise: 0")
        let (endless, others) = try self.model()
        let stream = try VideoStream(endless, prompt: "a city", options: others)
        var rolling: [VideoFrame] = []
        while rolling.count < 26 { rolling += try stream.generate() }
        #expect(rolling[..<13].map(\.pixels) == same[..<13].map(\.pixels))
        #expect(rolling[13..<26].map(\.pixels) != same[13...].map(\.pixels))
    }

    // MARK: - Videos

    /// A generated video is the beginning of the stream with the same seed.
    @Test func videosAreThoseOfStreams() throws {
        let generator = VideoGenerator(try GenerationModel(path))
        var request = GenerationRequest(prompt: "a red ball")
        request.settings.seed = 5
        var made: [VideoFrame] = []
        let video = try generator.generate(request) { event in
            if case .frames(let frames, _) = event { made += frames }
        }
        #expect(made.count == 21 && video.plan.steps == 3 && video.plan.prompts.count == 1)
        #expect(video.latents.shape == [1, 8, 6, 4, 6])
        let (model, options) = try model()
        let stream = try VideoStream(model, prompt: "a red ball", options: options)
        var streamed: [VideoFrame] = []
        while streamed.count < 21 { streamed += try stream.generate() }
        #expect(streamed.map(\.pixels) == made.map(\.pixels))

        // Fewer steps, and a length that no whole chunk ends.
        request.settings.steps = 1
        request.settings.frames = 9
        let short = try generator.generate(request) { _ in }
        #expect(short.latents.shape[2] == 3 && short.plan.steps == 1)
    }

    @Test func whatCausalModelsDoNotDoIsRefused() throws {
        let model = try GenerationModel(path)
        let changes: [(String, (inout GenerationRequest) -> Void)] = [
            ("guidance", { $0.settings.guidance = 3 }), ("solver", { $0.settings.solver = .euler }),
            ("shift", { $0.settings.shift = 5 }),
            ("timesteps", { $0.settings.timesteps = [900] }),
            ("negative", { $0.settings.negativePrompt = "blurry" }),
            ("feature cache", { $0.settings.cacheThreshold = 0.1 }),
            ("allows 1 to 3", { $0.settings.steps = 4 }),
        ]
        for (word, change) in changes {
            var request = GenerationRequest(prompt: "a cat")
            change(&request)
            let error = #expect(throws: SwanError.self) { try GenerationPlan(request, model) }
            #expect(error?.message.contains(word) ?? false, "\(error?.message ?? "")")
        }
        try configure(steps: "[700, 500, 0]")
        let error = #expect(throws: SwanError.self) { try GenerationModel(path) }
        #expect(error?.message.contains("swan stream") ?? false)
    }
}
