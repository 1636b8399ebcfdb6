import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines
import SwanSchedulers

/// Which settings of a request change the video, and which do not.
@Suite struct FileGenerationTests {
    private let folder: TemporaryDirectory
    private let checkpoint: RandomCheckpoint

    init() throws {
        folder = try TemporaryDirectory()
        checkpoint = try RandomCheckpoint(.textToVideo, .original, at: folder.path("model"))
    }

    /// Five frames of 32x32 in two steps.
    private func request(_ output: String) -> FileGenerationRequest {
        var request = FileGenerationRequest(
            model: checkpoint.path,
            prompt: "a cat",
            output: folder.path(output)
        )
        request.options.device = "cpu"
        request.generation.settings.size = .init(width: 32, height: 32)
        (request.generation.settings.frames, request.generation.settings.steps) = (5, 2)
        return request
    }

    private func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: folder.path(name)))
    }

    /// The bytes of the video for a changed request.
    private func video(
        _ change: (inout FileGenerationRequest) -> Void = { _ in }
    ) throws -> Data {
        var request = request("video.y4m")
        change(&request)
        _ = try FileGeneration(request).run()
        return try bytes("video.y4m")
    }

    @Test func seedAndPromptsDetermineTheVideo() throws {
        let first = try video()
        #expect(try video() == first)
        #expect(try video { $0.generation.settings.seed = 1 } != first)
        #expect(try video { $0.generation.prompt = "the city at night" } != first)
        #expect(try video { $0.generation.settings.negativePrompt = "neon edges" } != first)
    }

    // MARK: - Events

    private func options() -> GenerationOptions {
        var options = GenerationOptions()
        options.device = "cpu"
        return options
    }

    private func events(frames: Int) throws -> AsyncThrowingStream<GenerationEvent, any Error> {
        try TextToVideo(checkpoint: checkpoint.path, options: options()).generate("a cat") {
            $0.settings.size = .init(width: 32, height: 32)
            ($0.settings.frames, $0.settings.steps) = (frames, 2)
        }
    }

    @Test func eventsEndWithTheVideo() async throws {
        var (steps, frames, result) = (0, 0, nil as GeneratedVideo?)
        for try await event in try events(frames: 9) {
            switch event {
            case .frames(let part, _): frames += part.count
            case .result(let video): result = video
            default: steps += 1
            }
        }
        #expect(steps >= 2 && frames == 9)
        #expect(result?.frames.count == 9)
        try #require(result).write(to: folder.path("events.y4m"))
        let file = try video { $0.generation.settings.frames = 9 }
        #expect(try bytes("events.y4m") == file)
    }

    /// A reader that stops reading ends the generation.
    @Test func abandonedEventsEndTheGeneration() async throws {
        for try await event in try events(frames: 17) {
            if case .frames = event { break }
        }
        await #expect(throws: SwanError.self) {
            for try await _ in try events(frames: 6) {}
        }
    }

    @Test func imageToVideoRefusesTextModels() throws {
        let error = #expect(throws: SwanError.self) {
            try ImageToVideo(checkpoint: checkpoint.path, options: options())
        }
        #expect(error?.message.contains("use TextToVideo") == true)
    }

    /// Where idle parts are stored does not affect the result.
    @Test(arguments: GenerationOptions.Offload.allCases)
    func offloadChangesNothing(offload: GenerationOptions.Offload) throws {
        #expect(try video { $0.options.offload = offload } == video())
    }

    @Test func textEncoderOnTheCPUChangesNothing() throws {
        #expect(try video { $0.options.textEncoderOnCPU = true } == video())
    }

    @Test func batchedGuidanceIsTheSame() throws {
        var latents: [Tensor] = []
        for isBatch in [false, true] {
            _ = try video {
                // In 16-bit precision, rounding would exceed the tolerance.
                $0.options.dtype = .float32
                $0.generation.settings.batchesGuidance = isBatch
                $0.saveLatents = folder.path("latents.safetensors")
            }
            let file = try SafetensorsFile(path: folder.path("latents.safetensors"))
            latents.append(try file.tensor("latents").cloned())
        }
        try expectClose(latents[1], latents[0], relative: 1e-4, absolute: 1e-4, "latents")
    }

    @Test func solversGiveDifferentVideos() throws {
        var seen: Set<Data> = []
        for solver in FlowSolverKind.allCases {
            seen.insert(
                try video { request in
                    request.generation.settings.solver = solver
                    request.generation.settings.steps = 4
                }
            )
        }
        seen.insert(
            try video {
                $0.generation.settings.steps = nil
                $0.generation.settings.timesteps = [1_000, 750, 500, 250]
            }
        )
        #expect(throws: SwanError.self) {
            try video {
                $0.generation.settings.steps = nil
                $0.generation.settings.timesteps = [100, 900]
            }
        }
        #expect(seen.count == FlowSolverKind.allCases.count + 1)
    }

    @Test func guidanceOfOneNeedsNoSecondBranch() throws {
        var request = request("out.y4m")
        request.generation.settings.guidance = 1
        let model = try GenerationModel(checkpoint.path, options: request.options)
        #expect(try GenerationPlan(request.generation, model).prompts == ["a cat"])
        let alone = try video { $0.generation.settings.guidance = 1 }
        #expect(try video { $0.generation.settings.guidance = 1.5 } != alone)
    }

    /// The final latents are saved. Initial latents replace the noise that the seed would give.
    @Test func savesAndAcceptsLatents() throws {
        let noise = try Tensor.randn([1, 16, 2, 4, 4], Generator(seed: 5))
        let path = folder.path("noise.safetensors")
        try Safetensors.write(["latents": noise], to: path)
        let drawn = try video {
            $0.generation.settings.seed = 5
            $0.saveLatents = folder.path("drawn.safetensors")
        }
        let given = try video { $0.generation.initialLatents = noise }
        #expect(given == drawn)
        let saved = try SafetensorsFile(path: folder.path("drawn.safetensors"))
        #expect(saved.keys == ["latents"])
        #expect(try saved.tensor("latents").shape == [1, 16, 2, 4, 4])
        let error = #expect(throws: SwanError.self) {
            try video { request in
                request.generation.initialLatents = noise
                request.generation.settings.frames = 9
            }
        }
        #expect(error?.message.contains("[1, 16, 3, 4, 4]") == true)
    }

    @Test func numbersVariantsAndPrompts() throws {
        var request = request("out.y4m")
        request.morePrompts = ["neon edges"]
        request.variants = 2
        request.saveLatents = folder.path("latents.safetensors")
        let summary = try FileGeneration(request).run()
        let names = (1...4).map { "out-\($0).y4m" }
        #expect(summary.videos.map(\.output) == names.map { folder.path($0) })
        #expect(summary.videos.map(\.prompt) == ["a cat", "a cat", "neon edges", "neon edges"])
        #expect(summary.videos.map(\.seed) == [0, 1, 0, 1])
        #expect(Set(try names.map { try bytes($0) }).count == 4)
        #expect(try bytes("out-1.y4m") == video())
        let latents = (1...4).map { folder.path("latents-\($0).safetensors") }
        #expect(latents.allSatisfy { FileManager.default.fileExists(atPath: $0) })
    }

    @Test func writesTheFramesOfEachVideoToItsOwnFolder() throws {
        var request = request("f/%03d.png")
        request.variants = 2
        request.generation.settings.frames = 1
        _ = try FileGeneration(request).run()
        for name in ["f-1/001.png", "f-2/001.png"] {
            #expect(try readImage(folder.path(name)).width == 32)
        }
    }

    /// A frame pattern without a folder gets numbered folders.
    @Test func numbersTheOutputsOfSeveralVideos() throws {
        for (output, second) in [
            ("out.mp4", "out-2.mp4"), ("a/out", "a/out-2"), ("a.b/%d.png", "a.b-2/%d.png"),
            ("%05d.png", "2/%05d.png"),
        ] {
            var request = FileGenerationRequest(model: "m", prompt: "a cat", output: output)
            request.variants = 2
            #expect(try request.jobs().map(\.output).last == second)
        }
    }

    @Test func writesOneFrameAsAPicture() throws {
        var request = request("out.png")
        request.generation.settings.frames = 1
        request.generation.settings.size = .init(width: 48, height: 32)
        let summary = try FileGeneration(request).run()
        #expect(summary.frames == 1)
        let picture = try readImage(folder.path("out.png"))
        #expect(picture.width == 48 && picture.height == 32)
    }

    @Test func usesTheTinyAutoencoder() throws {
        let tiny = try video { $0.options.vae = "tiny" }
        #expect(try tiny.count == video().count)
        #expect(try tiny != video())
        #expect(try video { $0.options.vae = checkpoint.file("taew2_1.safetensors") } == tiny)
    }

    /// Frames that fit into one tile do not change. Several tiles give a video of the same size
    /// with other pixels.
    @Test func tilesTheAutoencoder() throws {
        #expect(try video { $0.options.tilesVAE = true } == video())
        var videos: [Data] = []
        for isTiled in [false, true] {
            videos.append(
                try video { request in
                    request.options.tilesVAE = isTiled
                    request.generation.settings.size = .init(width: 320, height: 32)
                    request.generation.settings.steps = 1
                }
            )
        }
        #expect(videos[0].count == videos[1].count && videos[0] != videos[1])
    }

    /// The video takes its aspect ratio from the picture and its size from the area.
    @Test(arguments: [
        (RandomCheckpoint.Model.imageToVideo, 32, 32), (.textOrImageToVideo, 32, 32),
    ])
    func takesTheSizeFromAPicture(model: RandomCheckpoint.Model, width: Int, height: Int) throws {
        let checkpoint = try RandomCheckpoint(model, .diffusers, at: folder.path("m"))
        var generation = try RandomCheckpointTests.request(for: model)
        generation.settings.size = nil
        generation.image = try RandomCheckpointTests.picture(1, width: 40, height: 40)
        generation.settings.area = 34 * 34
        let opened = try GenerationModel(
            checkpoint.path,
            options: RandomCheckpointTests.options
        )
        let plan = try GenerationPlan(generation, opened)
        #expect(plan.width == width && plan.height == height)
        generation.image = try RandomCheckpointTests.picture(1, width: 400, height: 200)
        generation.settings.area = 64 * 128
        let wide = try GenerationPlan(generation, opened)
        #expect(wide.width == 2 * wide.height)
    }

    /// The number of frames defaults to the control video's, and the solver to diffusers'
    /// scheduler.
    @Test func takesDefaultsFromTheModelAndTheInputs() throws {
        let checkpoint = try RandomCheckpoint(
            .controlToVideo,
            .diffusers,
            at: folder.path("control")
        )
        let scheduler = checkpoint.file("scheduler/scheduler_config.json")
        let settings = #"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 2.5}"#
        try Data(settings.utf8).write(to: URL(fileURLWithPath: scheduler))
        var request = GenerationRequest(prompt: "a cat")
        var control = GenerationRequest.Control()
        control.video = try (0..<11).map { _ in
            try VideoFrame(width: 1, height: 1, pixels: [0, 0, 0])
        }
        request.control = control
        let plan = try GenerationPlan(request, GenerationModel(checkpoint.path))
        #expect(plan.frames == 9)
        #expect(plan.solver == .euler)
        #expect(plan.shift == 2.5)
        #expect(plan.schedule == .diffusers)
    }

    /// Models with two experts accept a LoRA for only one of them.
    @Test func appliesALoRAToOneExpert() throws {
        let checkpoint = try RandomCheckpoint(
            .textToVideoExperts,
            .original,
            at: folder.path("experts")
        )
        let lora = folder.path("lora.safetensors")
        try Self.writeLoRA(to: lora, width: 48)
        func latents(
            _ expert: ModelFolder.Part?,
            _ strength: Double,
            _ boundary: Double,
            live: Bool = false
        ) throws -> Data {
            try video { request in
                request.model = checkpoint.path
                request.options.loras = [.init(lora, strength: strength, expert: expert)]
                request.options.addsLoRAsLive = live
                request.generation.settings.boundary = boundary
            }
        }
        let plain = try latents(nil, 0, 0)
        #expect(try latents(nil, 3, 0, live: true) != plain)
        #expect(try latents(nil, 3, 0) != plain)
        #expect(try latents(.transformer, 3, 0) != plain)
        // With a boundary of 0, the high-noise expert does all steps.
        #expect(try latents(.lowNoiseTransformer, 3, 0) == plain)
        #expect(try latents(.lowNoiseTransformer, 3, 1) != latents(.transformer, 3, 1))
    }

    static func writeLoRA(to path: String, width: Int, module: String = "blocks.0.self_attn.q")
        throws
    {
        let generator = try Generator(seed: 3)
        let name = "diffusion_model." + module
        try Safetensors.write(
            [
                name + ".lora_down.weight": .randn([2, width], generator),
                name + ".lora_up.weight": .randn([width, 2], generator),
                name + ".alpha": Tensor([Float(2)], []),
            ],
            to: path
        )
    }
}
