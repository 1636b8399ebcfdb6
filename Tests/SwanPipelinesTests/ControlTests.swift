import GoldenSupport
import ModelSupport
import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// The control inputs of VACE models, beyond what `GenerationParityTests` compares.
@Suite(.timeLimit(.minutes(5))) struct ControlTests {
    private let folder: TemporaryDirectory
    private let model: GenerationModel

    init() throws {
        folder = try TemporaryDirectory()
        let checkpoint = try RandomCheckpoint(.controlToVideo, .original, at: folder.path("m"))
        model = try GenerationModel(checkpoint.path, options: RandomCheckpointTests.options)
    }

    private func latents(_ control: GenerationRequest.Control?) throws -> Tensor {
        var request = try RandomCheckpointTests.request(for: .controlToVideo)
        request.control = control
        return try VideoGenerator(model).generate(request) { _ in }.latents
    }

    private func mask(_ shade: UInt8) throws -> VideoFrame {
        // The left half is kept.
        let pixels = (0..<(64 * 32)).flatMap { index -> [UInt8] in
            Array(repeating: index % 64 < 32 ? 0 : shade, count: 3)
        }
        return try VideoFrame(width: 64, height: 32, pixels: pixels)
    }

    @Test func theScaleCountsWithoutAControlVideo() throws {
        var control = GenerationRequest.Control()
        let usual = try latents(nil)
        try expectClose(latents(control), usual, relative: 0, absolute: 0)
        control.scale = 0
        #expect(try (latents(control) - usual).norm().item() > 0.01)
        control.scale = .nan
        #expect(throws: SwanError.self) { try latents(control) }
    }

    @Test func aStillMaskIsForAllFrames() throws {
        var control = GenerationRequest.Control()
        control.video = try (0..<5).map { try RandomCheckpointTests.picture($0) }
        control.masks = [try mask(255)]
        let still = try latents(control)
        control.masks = Array(repeating: control.masks[0], count: 5)
        try expectClose(latents(control), still, relative: 0, absolute: 0)
        control.masks = []
        #expect(try (latents(control) - still).norm().item() > 0.01)
    }

    /// As in wan/utils/vace_processor.py, which reads as many frames as both videos have.
    @Test func theVideoEndsWithItsMask() throws {
        var request = try RandomCheckpointTests.request(for: .controlToVideo)
        request.settings.frames = nil
        var control = GenerationRequest.Control()
        control.video = try (0..<13).map { try RandomCheckpointTests.picture($0) }
        control.masks = try (0..<6).map { _ in try mask(255) }
        request.control = control
        let plan = try GenerationPlan(request, model)
        #expect(plan.frames == 5)
        #expect(plan.issues.count == 1)
        let issue = plan.issues.first ?? ""
        #expect(issue.contains("the mask has 6 frames, fewer than the control video"), "\(issue)")
        #expect(!issue.contains("generated freely"), "\(issue)")

        request.settings.frames = 9
        let longer = try GenerationPlan(request, model)
        #expect(longer.issues.first?.contains("the other 3 frames are generated freely") ?? false)
        let video = try longer.video(control.followed, .cpu)
        #expect(video.shape[2] == 9)
        #expect(try video.sliced(2, 6..<9).abs().max().item() == 0)
        let masks = try longer.masks(control.masks, for: 6, .cpu)
        #expect(try masks.sliced(2, 6..<9).min().item() == 1)

        request.control?.masks = try (0..<13).map { _ in try mask(255) }
        #expect(try GenerationPlan(request, model).issues.isEmpty)
    }

    @Test func otherModelsRefuseAScale() throws {
        let checkpoint = try RandomCheckpoint(.textToVideo, .original, at: folder.path("t"))
        var request = try RandomCheckpointTests.request(for: .textToVideo)
        request.control = GenerationRequest.Control()
        let other = try GenerationModel(checkpoint.path, options: RandomCheckpointTests.options)
        let error = #expect(throws: SwanError.self) { try GenerationPlan(request, other) }
        #expect(error?.message.contains("a control scale") ?? false)
    }
}
