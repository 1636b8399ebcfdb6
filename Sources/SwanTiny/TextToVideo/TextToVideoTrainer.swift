import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
package import SwanThreads
package import SwanTraining
package import Torch

/// Trains a text-to-video model from a recipe: tokenizer, text encoder, latents, transformer.
///
/// The output folder is a model for `swan generate`; while the transformer is trained, it holds the
/// weights of the last evaluation. A run killed at any moment resumes from its last checkpoint.
package struct TextToVideoTrainer {
    private let recipe: TextToVideoRecipe
    private let folder: TrainingFolder
    private let output: URL
    private let device: Device
    private let stop: CancellationFlag
    private let onProgress: (TrainingProgress) -> Void
    private let scenes: SceneSampler
    private let prompts: ScenePrompts

    /// Trains `recipe` into the folder `output`.
    ///
    /// - Parameters:
    ///   - resume: Continues the run in `output`; if false, `output` must not contain a run.
    ///   - device: The device of the transformer.
    ///   - stop: Ends the run early, which then throws `SwanError.Code.interrupted`.
    ///   - onProgress: Called every few seconds.
    package static func run(
        recipe: TextToVideoRecipe,
        output: String,
        resume: Bool = false,
        device: Device = .cpu,
        stop: CancellationFlag = CancellationFlag(),
        onProgress: @escaping (TrainingProgress) -> Void = { _ in }
    ) throws {
        let budget = ComputeBudget.current
        defer { budget.apply() }
        TrainingThreads.share(recipe.threads)
        let vae = try FrozenAutoencoder(of: recipe.autoencoder)
        do {
            let trainer = TextToVideoTrainer(
                recipe: recipe,
                folder: try TrainingFolder(output, recipe: recipe, resume: resume),
                output: URL(fileURLWithPath: output, isDirectory: true),
                device: device,
                stop: stop,
                onProgress: onProgress,
                scenes: SceneSampler(frames: recipe.frames, seed: recipe.seed),
                prompts: ScenePrompts(seed: recipe.seed)
            )
            try trainer.train(with: vae)
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? output, error)
        }
    }

    private func train(with vae: FrozenAutoencoder) throws {
        TrainingPhase.begin("measuring the latents of drawn scenes")
        let done = try autoencoder(vae)
        TrainingPhase.begin("training the tokenizer")
        let tokenizer = try tokenizer()
        let encoder = try textEncoder(tokenizer)
        let codec = try LatentCodec(done.weights, done.config)
        let latents = try SceneLatents(
            output.appending(path: "checkpoints/latents"),
            count: recipe.video.clips,
            maker: SceneLatents.Maker(scenes: scenes, size: recipe.video.size, codec: codec),
            mark: "\(recipe.seed) \(recipe.video.size) \(recipe.frames) \(done.config.latentsStd)",
            stop: stop,
            onProgress: onProgress
        )
        let method = FlowMethod(
            recipe: recipe,
            scenes: scenes,
            prompts: prompts,
            tokenizer: tokenizer,
            encoder: encoder,
            codec: codec,
            latents: latents,
            channelWeights: try Tensor(
                done.channelWeights.map(Float.init),
                [done.channelWeights.count]
            ),
            evaluating: { [folder, recipe] in try folder.saveTextToVideo($0, of: recipe) }
        )
        let state = try loop("transformer", method, steps: recipe.transformer.steps).run(
            from: {
                let model = recipe.transformer.model
                let first = try FlowInitialization.transformer(model, seed: recipe.seed)
                return [FlowMethod.trainedRole: first]
            },
            onProgress: onProgress
        )
        try folder.saveTextToVideo(state.averages[FlowMethod.trainedRole], of: recipe)
    }

    /// The autoencoder with statistics of the latents of drawn scenes.
    private func autoencoder(_ vae: FrozenAutoencoder) throws -> TrainedAutoencoder {
        if let done = try folder.autoencoder(on: .cpu) { return done }
        guard recipe.transformer.model.inDim == vae.config.zDim,
            recipe.video.size.isMultiple(
                of: recipe.transformer.model.sizeMultiple(spatialStride: vae.config.spatialStride)
            )
        else {
            throw SwanError(
                .invalidRecipe,
                "transformer.model.in_dim must be \(vae.config.zDim), and video.size a multiple of "
                    + "the autoencoder's stride \(vae.config.spatialStride) times patch_size"
            )
        }
        let statistics = try LatentStatistics.measured(
            vae.weights,
            vae.config,
            over: LatentStatistics.Clips(
                source: SceneClips(seed: recipe.seed),
                count: 64,
                size: recipe.video.size,
                firstIndex: 1 << 40
            ),
            seed: recipe.seed
        )
        var config = vae.config
        config.latentsMean = statistics.mean
        // Noise of deviation 1 has to hide everything; a stream's hides little.
        config.latentsStd = statistics.std.map { $0 * LatentStatistics.spread }
        let done = TrainedAutoencoder(
            weights: vae.weights,
            config: config,
            channelWeights: statistics.weights
        )
        try folder.save(done)
        return done
    }

    private func tokenizer() throws -> Tokenizer {
        try folder.tokenizer {
            try TokenizerTrainer.train(
                sentences: prompts.corpus(scenes, count: recipe.text.sentences),
                vocabularySize: recipe.text.model.vocabulary,
                normalization: .identity
            )
        }
    }

    private func textEncoder(_ tokenizer: Tokenizer) throws -> UMT5Encoder {
        let method = SceneTextMethod(
            config: recipe.text.model,
            optimizer: recipe.text.optimizer,
            prompts: prompts,
            scenes: scenes,
            tokenizer: tokenizer,
            maximumTokens: recipe.transformer.model.textLen,
            vectors: try SceneVectors(dim: recipe.text.model.dim, seed: recipe.seed),
            batch: recipe.text.batch
        )
        let state = try loop("text", method, steps: recipe.text.steps).run(
            from: {
                let first = try Initialization.textEncoder(recipe.text.model, seed: recipe.seed)
                return [SceneTextMethod.trainedRole: first]
            },
            onProgress: onProgress
        )
        let trained = state.averages[SceneTextMethod.trainedRole]
        try folder.saveTextEncoder(trained, of: recipe)
        // How many prompts it reads without a mistake bounds how many the model can meet.
        onProgress(
            TrainingProgress(
                stage: "text",
                step: state.step,
                of: recipe.text.steps,
                losses: ["understood": try method.understood(trained, count: 500)],
                secondsPerStep: 0
            )
        )
        // As it is stored, so that the finished model sees what was trained on.
        let rounded = try trained.mapValues { try $0.to(.float16).to(.float32).to(.cpu) }
        return try UMT5Encoder(rounded, recipe.text.model)
    }

    private func loop<M: Method>(
        _ stage: String,
        _ method: M,
        steps: Int
    ) throws -> TrainingLoop<M> {
        let evaluation = recipe.evaluation
        return TrainingLoop(
            stage,
            steps: steps,
            method: method,
            saving: CheckpointSaving(
                try folder.checkpoints(stage, recipe.checkpoints),
                recipe.checkpoints,
                metadata: folder.metadata
            ),
            device: device,
            stop: stop,
            threads: recipe.threads,
            record: folder.record(
                stage,
                SampleOptions(everySteps: evaluation.everySteps, clips: evaluation.prompts)
            )
        )
    }
}

extension TrainingFolder {
    /// Writes the transformer, and how its videos are made.
    func saveTextToVideo(_ weights: [String: Tensor], of recipe: TextToVideoRecipe) throws {
        try writer.write(
            weights,
            config: recipe.transformer.model,
            class: "WanModel",
            as: .transformer
        )
        try writer.write(
            GenerationDefaults(
                task: .textToVideo,
                width: recipe.video.size,
                height: recipe.video.size,
                frames: recipe.frames,
                framesPerSecond: recipe.video.fps,
                steps: recipe.evaluation.finalSteps,
                shift: recipe.transformer.shift,
                guidance: recipe.evaluation.guidance,
                negativePrompt: ""
            )
        )
    }

    /// Writes the text encoder.
    func saveTextEncoder(_ weights: [String: Tensor], of recipe: TextToVideoRecipe) throws {
        try writer.write(
            weights,
            config: recipe.text.model,
            class: "UMT5EncoderModel",
            as: .textEncoder
        )
    }
}
