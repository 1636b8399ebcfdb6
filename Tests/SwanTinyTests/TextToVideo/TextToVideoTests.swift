import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanSystem
import SwanTraining
import SwanThreads
import Testing
import Torch

@testable import SwanTiny

/// The training of a text-to-video model, with small networks and few steps.
@Suite(.timeLimit(.minutes(3))) struct TextToVideoTests {
    static let recipe = TinyTraining.textToVideoRecipe

    /// Stops a run at the first report of a stage.
    private final class Stopper {
        let flag = CancellationFlag()
        let stage: String

        init(at stage: String) { self.stage = stage }

        func see(_ progress: TrainingProgress) {
            if progress.stage == stage { flag.cancel() }
        }
    }

    /// A run that is stopped after its latents, and within the transformer's steps, ends with the
    /// same files as one that is not; and its loss falls.
    @Test func resumedRunsEndWithTheSameWeights() throws {
        let recipe = try TextToVideoRecipe(yaml: Self.recipe)
        let folder = try TemporaryDirectory()
        var losses: [String: Double] = [:]
        try TextToVideoTrainer.run(recipe: recipe, output: folder.path("whole")) { progress in
            for (name, value) in progress.losses { losses[progress.stage + "/" + name] = value }
        }
        // The mean over all steps. A flow of zero has a loss of at least 1.
        #expect(try #require(losses["text/squared_error"]) < 1.5)
        #expect(try #require(losses["transformer/flow"]).isFinite)
        for stage in ["text", "latents"] {
            let stopper = Stopper(at: stage)
            #expect {
                try TextToVideoTrainer.run(
                    recipe: recipe,
                    output: folder.path("parts"),
                    resume: stage != "text",
                    stop: stopper.flag,
                    onProgress: stopper.see
                )
            } throws: {
                ($0 as? SwanError)?.code == .interrupted
            }
        }
        try TextToVideoTrainer.run(recipe: recipe, output: folder.path("parts"), resume: true)
        for file in [
            "transformer/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
            "vae/config.json", "generate.yaml", "tokenizer/spiece.model",
            "checkpoints/latents/00000.safetensors",
        ] {
            let (whole, parts) = try (
                Data(contentsOf: URL(fileURLWithPath: folder.path("whole/" + file))),
                Data(contentsOf: URL(fileURLWithPath: folder.path("parts/" + file)))
            )
            #expect(whole == parts, "\(file) differs")
        }
        let model = try ModelFolder(folder.path("whole"))
        let variant = try model.variant(model.configs())
        #expect(variant.task == .textToVideo && !variant.takesImage)
        let defaults = variant.defaults
        #expect(defaults.width == 32 && defaults.frames == 13 && defaults.steps == 2)
        #expect(variant.shift(area: 1_024) == 3 && defaults.guidance == (2, 2))
        #expect(defaults.negativePrompt.isEmpty)
    }

    @Test(
        arguments: [
            ("autoencoder: tiny", "autoencoder: nowhere", "nowhere"),
            ("d_model: 64", "d_model: 32", "text_dim"),
            ("d_model: 64", "d_model: 20", "text_dim"),
            ("latent_frames: 4", "latent_frames: 3", "video.latent_frames"),
            ("in_dim: 48", "in_dim: 16", "in_dim"),
            ("shift: 3", "shift: 0", "transformer.shift"),
            ("prompt_dropout: 0.1", "prompt_dropout: 1.5", "prompt_dropout"),
            ("size: 32", "size: 40", "video.size"),
            ("clips: 6", "clip: 6", "clips"),
            ("vocab_size: 330", "vocab_size: 200", "vocab_size"),
        ]
    )
    func wrongRecipesAreRefused(found: String, replaced: String, key: String) throws {
        let text = Self.recipe.replacingOccurrences(of: found, with: replaced)
        let folder = try TemporaryDirectory()
        #expect {
            let recipe = try TextToVideoRecipe(yaml: text)
            try TextToVideoTrainer.run(recipe: recipe, output: folder.path("out"))
        } throws: { error in
            "\(error)".contains(key)
        }
    }

    @Test func theShippedRecipeIsValid() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "configs/tiny-t2v.yaml").path
        let recipe = try TextToVideoRecipe(contentsOf: path)
        #expect(recipe.frames == 21 && TextToVideoRecipe.describes(path))
    }

    /// `swan train` tells recipes apart by a key.
    @Test func recipesAreToldApart() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("recipe.yaml")
        try Self.recipe.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(TextToVideoRecipe.describes(path))
        try TinyRecipe.text.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(!TextToVideoRecipe.describes(path))
        #expect(!TextToVideoRecipe.describes(folder.path("nothing.yaml")))
    }

    /// Euler along a straight path ends where it leads, whatever the noise levels.
    @Test func guidedSamplesFollowTheFlow() throws {
        // With a flow that is N - x0 for a fixed x0, every step leads straight to x0.
        let target = try Tensor.randn([1, 48, 2, 4, 4], Generator(seed: 1))
        let noise = try Tensor.randn([1, 48, 2, 4, 4], Generator(seed: 2))
        let found = try GuidedSampler.path(
            from: noise,
            steps: 7,
            shift: 3
        ) { x, level throws(SwanError) in try (x - target) * (1 / level) }
        #expect(try (found - target).abs().max().item() < 1e-5)
    }
}
