import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
import SwanTraining
import Yams

extension TextToVideoRecipe {
    /// Whether a file is a recipe of this kind: a mapping with the key `autoencoder`. Files that
    /// cannot be read are left to the reader of the usual recipes, which says why.
    package static func describes(_ path: String) -> Bool {
        guard let text = try? SmallFile.text(path), let node = try? StrictYAML.compose(text) else {
            return false
        }
        return node.mapping?.contains { $0.key.string == "autoencoder" } ?? false
    }

    /// Throws `invalidRecipe` with the first value that cannot be.
    func check() throws {
        do {
            try checkNumbers()
        } catch {
            throw SwanError(.invalidRecipe, error.message, cause: error)
        }
        _ = try SceneVectors(dim: text.model.dim, seed: seed)
    }

    private func checkNumbers() throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(name == name.printable(), "name is not plain text")
        try limits.require(license == license.printable(), "license is not plain text")
        try limits.require(threads, in: 1...1_024, "threads")
        try limits.require(video.size, in: limits.side, "video.size")
        // A change of the scene needs two latent frames on either side.
        try limits.require(video.latentFrames, in: 4...6, "video.latent_frames")
        try limits.require(video.fps, in: 1...240, "video.fps")
        try limits.require(video.clips, in: limits.count, "video.clips")
        try checkText()
        try checkTransformer()
        try limits.require(evaluation.everySteps, in: limits.count, "evaluation.every_steps")
        try limits.require(evaluation.prompts, in: 0...4_096, "evaluation.prompts")
        try limits.require(evaluation.steps, in: 1...1_000, "evaluation.steps")
        try limits.require(evaluation.finalSteps, in: 1...1_000, "evaluation.final_steps")
        try limits.require(evaluation.guidance, in: 0...100, "evaluation.guidance")
        try limits.require(checkpoints.everySteps, in: limits.count, "checkpoints.every_steps")
        try limits.require(checkpoints.kept, in: limits.list, "checkpoints.kept")
        try limits.require(checkpoints.everyMinutes, in: 1e-6...1e6, "checkpoints.every_minutes")
    }

    private func checkText() throws(SwanError) {
        let limits = NumberLimits.self
        try text.model.validate()
        try limits.require(text.sentences, in: 1...10_000_000, "text.sentences")
        try limits.require(text.steps, in: limits.count, "text.steps")
        try limits.require(text.batch, in: limits.list, "text.batch")
        try text.optimizer.requireRanges("text.optimizer")
        try limits.require(
            text.model.vocabulary > TokenizerTrainer.marksAndBytes,
            "text.model.vocab_size must be above \(TokenizerTrainer.marksAndBytes)"
        )
    }

    private func checkTransformer() throws(SwanError) {
        let (limits, model) = (NumberLimits.self, transformer.model)
        try model.validate()
        try limits.require(
            model.textDim == text.model.dim,
            "transformer.model.text_dim is \(model.textDim), but text.model.d_model is "
                + "\(text.model.dim)"
        )
        try limits.require(
            model.imageDim == nil && model.vaceLayers == nil && model.inDim == model.outDim,
            "transformer.model: in_dim and out_dim must be the same, without image_dim and "
                + "vace_layers, for a text-to-video model"
        )
        try limits.require(transformer.shift, in: 1e-3...1_000, "transformer.shift")
        try limits.require(transformer.promptDropout, in: 0...1, "transformer.prompt_dropout")
        try limits.require(transformer.steps, in: limits.count, "transformer.steps")
        try limits.require(transformer.batch, in: limits.list, "transformer.batch")
        try transformer.optimizer.requireRanges("transformer.optimizer")
    }
}
