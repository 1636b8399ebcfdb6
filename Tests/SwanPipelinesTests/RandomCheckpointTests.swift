import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import Testing
import Torch

@testable import SwanPipelines

/// Runs every generation model in every layout, from the prompt to the file.
@Suite struct RandomCheckpointTests {
    private typealias Model = RandomCheckpoint.Model

    @Test(arguments: RandomCheckpoint.Model.allCases, RandomCheckpoint.Layout.allCases)
    func generatesAVideo(model: RandomCheckpoint.Model, layout: RandomCheckpoint.Layout) throws {
        let folder = try TemporaryDirectory()
        let checkpoint = try RandomCheckpoint(model, layout, at: folder.path("model"))
        let task = Self.task(model)

        let inspection = try ModelInspection(checkpoint.path)
        #expect(inspection.task == task)
        #expect(inspection.missing == [])
        #expect(inspection.sizeMultiple == model.sizeMultiple)
        #expect(inspection.kind.contains("two experts") == model.hasExperts)

        var request = FileGenerationRequest(
            model: checkpoint.path,
            prompt: "a cat",
            output: folder.path("out.mkv")
        )
        request.options.device = "cpu"
        request.generation = try Self.request(for: model)
        let summary = try FileGeneration(request).run()
        #expect(summary.task == task.rawValue)
        #expect(summary.videos.map(\.output) == [folder.path("out.mkv")])
        #expect(summary.schedule == (layout == .diffusers ? "diffusers" : "wan"))

        let reader = try VideoReader(path: folder.path("out.mkv"))
        let rate = model == .textOrImageToVideo ? 24 : 16
        #expect(reader.info.width == 64 && reader.info.height == 32)
        #expect(reader.info.frameRate == Rational(rate, 1))
        var frames: [VideoFrame] = []
        while let frame = try reader.nextFrame() { frames.append(frame) }
        #expect(frames.count == 5)
        // A frame of one color would mean that something went wrong.
        for frame in frames { #expect(Set(frame.pixels).count > 16) }
    }

    /// The other file of a ComfyUI pair is found from any file name with `high_noise`.
    @Test func findsTheOtherExpert() throws {
        let folder = try TemporaryDirectory()
        let checkpoint = try RandomCheckpoint(.textToVideoExperts, .comfyUI, at: folder.path("m"))
        let file = checkpoint.file("diffusion_models/wan_high_noise_fp8_scaled.safetensors")
        #expect(try GenerationModel(file).variant.hasExperts)
    }

    /// Both experts are used if the boundary lies between the steps. With only one, the video
    /// differs.
    @Test func usesBothExperts() throws {
        let folder = try TemporaryDirectory()
        let checkpoint = try RandomCheckpoint(.textToVideoExperts, .original, at: folder.path("m"))
        var request = try Self.request(for: .textToVideoExperts)
        request.settings.steps = 4
        let generator = VideoGenerator(try GenerationModel(checkpoint.path, options: Self.options))
        var latents: [Tensor] = []
        for boundary in [0, 0.9, 1.0] {
            request.settings.boundary = boundary
            var parts: [ModelFolder.Part] = []
            let video = try generator.generate(request) { event in
                if case .loading(let part) = event { parts.append(part) }
            }
            latents.append(video.latents)
            #expect(parts.contains(.transformer) == (boundary < 1))
            #expect(parts.contains(.lowNoiseTransformer) == (boundary > 0))
        }
        #expect(try (latents[0] - latents[1]).norm().item() > 0.01)
        #expect(try (latents[2] - latents[1]).norm().item() > 0.01)
    }

    // MARK: - Requests

    static var options: GenerationOptions {
        var options = GenerationOptions()
        options.device = "cpu"
        return options
    }

    /// Five frames of 64x32 in two steps, with the pictures that the model needs.
    static func request(for model: RandomCheckpoint.Model) throws -> GenerationRequest {
        var request = GenerationRequest(prompt: "a cat")
        request.settings.size = .init(width: 64, height: 32)
        (request.settings.frames, request.settings.steps) = (5, 2)
        switch model {
        case .textToVideo, .textToVideoExperts: break
        case .imageToVideo, .imageToVideoExperts, .textOrImageToVideo:
            request.image = try picture(3)
        case .firstLastFrameToVideo:
            (request.image, request.lastImage) = (try picture(3), try picture(5))
        case .controlToVideo:
            var control = GenerationRequest.Control()
            control.video = try (0..<5).map { try picture($0) }
            control.references = [try picture(7)]
            request.control = control
        }
        return request
    }

    /// A picture whose pattern depends on `shade`.
    static func picture(_ shade: Int, width: Int = 70, height: Int = 50) throws -> VideoFrame {
        let pixels = (0..<(3 * width * height)).map {
            UInt8(truncatingIfNeeded: ($0 / 3) * (shade + 1))
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }

    private static func task(_ model: RandomCheckpoint.Model) -> WanVariant.Task {
        switch model {
        case .textToVideo, .textToVideoExperts: .textToVideo
        case .imageToVideo, .imageToVideoExperts: .imageToVideo
        case .firstLastFrameToVideo: .firstLastFrameToVideo
        case .textOrImageToVideo: .textOrImageToVideo
        case .controlToVideo: .controlToVideo
        }
    }
}
