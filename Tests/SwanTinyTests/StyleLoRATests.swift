import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanSystem
import SwanThreads
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanTiny

/// LoRAs that give a restyling model a look.
@Suite struct StyleLoRATests {
    private func recipe(_ changes: (inout StyleLoRARecipe) -> Void = { _ in }) throws
        -> StyleLoRARecipe
    {
        let folder = URL(fileURLWithPath: Golden.path("")).deletingLastPathComponent()
        var recipe = try StyleLoRARecipe(
            contentsOf: folder.appending(path: "configs/tiny-lora.yaml").path
        )
        recipe.data = DataConfig(procedural: 1)
        recipe.lora.rank = 2
        recipe.phases = [
            StreamPhase(steps: 4, size: 32, batch: 1, pool: 4, firstClips: 2, stepsPerClip: 2)
        ]
        recipe.samples = SampleOptions(clips: 0)
        changes(&recipe)
        return recipe
    }

    /// Ends with the same file, stopped or not, which fits the model and says what look it gives.
    @Test(.timeLimit(.minutes(10))) func resumes() throws {
        let folder = try TemporaryDirectory()
        let recipe = try recipe()
        try StyleLoRATrainer.run(recipe: recipe, output: folder.path("whole"))
        let stop = CancellationFlag()
        stop.cancel()
        #expect(throws: SwanError.self) {
            try StyleLoRATrainer.run(recipe: recipe, output: folder.path("parts"), stop: stop)
        }
        try StyleLoRATrainer.run(recipe: recipe, output: folder.path("parts"), resume: true)
        let path = folder.path("whole/lora.safetensors")
        let other = folder.path("parts/lora.safetensors")
        #expect(FileManager.default.contentsEqual(atPath: path, andPath: other))
        let look = try Style(ofLoRA: path)
        #expect(look.filters == recipe.look.filters && look.phrasings.isEmpty)

        let model = try ModelFolder(try #require(BundledModels.folder("tiny")))
        let source = try model.weights(of: model.require(.transformer))
        let applied = try LoRAWeights(source, [LoRA.open(path)])
        let key = "blocks.3.ffn.2.weight"
        let shape = try #require(try source.shape(key))
        let change = try applied.tensor(key, shape) - source.tensor(key, shape).to(.float32)
        #expect(try change.abs().max().item() > 0)
    }

    @Test func refusesWhatCannotBe() throws {
        let folder = try TemporaryDirectory()
        func message(_ changes: (inout StyleLoRARecipe) -> Void) throws -> String {
            let recipe = try recipe(changes)
            let error = #expect(throws: SwanError.self) {
                try recipe.check()
                try StyleLoRATrainer.run(recipe: recipe, output: folder.path("out"))
            }
            return error?.message ?? ""
        }
        #expect(try message { $0.lora.targets = ["to_z"] }.contains("'to_z'"))
        #expect(try message { $0.lora.rank = 0 }.contains("lora.rank"))
        #expect(try message { $0.start = "nowhere" }.contains("nowhere"))
        #expect(try message { $0.optimizer.muon = true }.contains("muon"))
        let plain = folder.path("plain.safetensors")
        try Safetensors.write(["diffusion_model.a.diff": .zeros([1])], to: plain)
        #expect(throws: SwanError.self) { try Style(ofLoRA: plain) }
    }
}
