import Foundation
import ModelSupport
import SwanDistributed
import SwanSystem
import SwanThreads
import SwanTiny
import SwanTraining
import Torch

extension TrainingProbe {
    /// Trains the smallest recipe into `folder`, with four micro-batches and 20 steps of the
    /// transformer.
    func trainRecipe() throws {
        var recipe = try Recipe(yaml: TinyTraining.recipe)
        recipe.vae.training.steps = 4
        recipe.vae.optimizer.microBatches = 4
        recipe.transformer.optimizer.microBatches = 4
        recipe.transformer.phases[0].steps = 14
        recipe.transformer.phases[1].steps = 6
        recipe.samples = SampleOptions(clips: 1)
        var options = ParallelOptions()
        options.data = argument("data").flatMap { Int($0) }
        options.sequence = argument("sequence").flatMap { Int($0) }
        options.shard = argument("shard").flatMap { Sharding(rawValue: $0) }
        if options != ParallelOptions() { recipe.parallel = options }
        try Trainer.run(
            recipe: recipe,
            output: argument("folder") ?? "",
            resume: argument("resume") == "true",
            world: world
        )
    }
}

extension TrainingProbe {
    /// Writes a small recipe with two micro-batches for the command.
    func writeRecipe() throws {
        let steps = argument("steps") ?? "8"
        let text = TinyTraining.recipe
            .replacing("every_steps: 4", with: "every_steps: 2")
            .replacing("average_decay: 0.9", with: "average_decay: 0.9\n    micro_batches: 2")
            .replacing("{steps: 5, size: 32", with: "{steps: \(steps), size: 32")
        _ = try Recipe(yaml: text)
        try Data(text.utf8).write(to: URL(fileURLWithPath: argument("path") ?? ""))
    }
}
