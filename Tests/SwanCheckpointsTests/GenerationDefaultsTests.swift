import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import Testing

@testable import SwanCheckpoints

/// `generate.yaml`: a model's own settings for what a request leaves open.
@Suite struct GenerationDefaultsTests {
    private static let text = """
        task: text-to-video
        width: 64
        height: 48
        frames: 21
        fps: 12
        steps: 30
        shift: 2.5
        guidance: 4
        negative_prompt: ''
        """

    private func variant(_ text: String?) throws -> WanVariant {
        let folder = try TemporaryDirectory()
        if let text { _ = try folder.file("generate.yaml", text: text) }
        var config = WanConfig()
        (config.inDim, config.outDim) = (48, 48)
        return WanVariant(
            config,
            hasExperts: false,
            own: try GenerationDefaults(ModelFolder(folder.path("")))
        )
    }

    @Test func takesTheModelsOwnSettings() throws {
        let variant = try variant(Self.text)
        #expect(variant.task == .textToVideo && !variant.takesImage)
        let defaults = variant.defaults
        #expect((defaults.width, defaults.height, defaults.frames) == (64, 48, 21))
        #expect((defaults.steps, defaults.framesPerSecond) == (30, 12))
        #expect(variant.shift(area: 64 * 48) == 2.5 && defaults.guidance == (4, 4))
        #expect(defaults.negativePrompt.isEmpty)
    }

    @Test func modelsWithoutTheFileKeepTheirAuthorsSettings() throws {
        let variant = try variant(nil)
        #expect(variant.task == .textOrImageToVideo && variant.defaults.frames == 121)
    }

    @Test(arguments: [
        ("width: 64", "width: 0", "width"), ("frames: 21", "frames: 1000000000", "frames"),
        ("fps: 12", "fps: -1", "fps"), ("steps: 30", "steps: 0", "steps"),
        ("shift: 2.5", "shift: .nan", "shift"), ("guidance: 4", "guidance: 1e9", "guidance"),
        ("task: text-to-video", "task: image-to-video", "task"),
        ("task: text-to-video", "task: dance", "task"), ("height: 48", "", "height"),
        ("height: 48", "height: {", "generate.yaml"),
    ])
    func refusesWhatCannotBe(found: String, replaced: String, word: String) throws {
        #expect {
            try variant(Self.text.replacingOccurrences(of: found, with: replaced))
        } throws: { error in
            let error = error as? SwanError
            return error?.code == .invalidModel && error?.message.contains(word) ?? false
                && error?.message.contains("generate.yaml") ?? false
        }
    }
}
