import Foundation
import SwanCheckpoints
package import SwanDistributed
import SwanMedia
import SwanModels
import SwanSystem
import SwanText
package import SwanThreads
package import SwanTraining
package import Torch

/// Trains a complete model from a recipe: autoencoder, tokenizer, then text encoder and
/// transformer.
///
/// The output folder is a model that can be streamed. Its `checkpoints` are needed only until
/// training is done; `events` and `samples` are for monitoring. A run killed at any moment resumes
/// from its last checkpoint and ends with the same weights as an uninterrupted one (bit for bit on
/// a CPU, with the same number of threads).
package struct Trainer {
    private let recipe: Recipe
    private let folder: TrainingFolder
    private let clips: any ClipSource
    private let device: Device
    private let stop: CancellationFlag
    private let start: StartModel?
    private let ranks: TrainingRanks?

    /// Trains `recipe` into the folder `output`.
    ///
    /// - Parameters:
    ///   - root: The folder that the recipe's paths are relative to.
    ///   - resume: Continues the run in `output`; if false, `output` must not contain a run, except
    ///     one that this job had begun before its launcher restarted it.
    ///   - device: The device of the networks; clips are made on the CPU and moved there.
    ///   - world: The processes that train together, all with the same arguments; the first one
    ///     writes the folder and reports progress. Nil for one.
    ///   - stop: Ends the run early, which then throws `SwanError.Code.interrupted`.
    ///   - onProgress: Called every few seconds.
    package static func run(
        recipe: Recipe,
        root: String = ".",
        output: String,
        resume: Bool = false,
        device: Device = .cpu,
        world: World? = nil,
        stop: CancellationFlag = CancellationFlag(),
        onProgress: (TrainingProgress) -> Void = { _ in }
    ) throws {
        try recipe.check()
        let ranks = try recipe.ranks(of: world)
        if let ranks {
            try recipe.check(ranks, hasAutoencoder: TrainingFolder.hasAutoencoder(output))
        }
        try recipe.files(root: root, output: output).check()
        if ranks?.isFirst ?? true {
            try DiskSpace.require(recipe.leastCheckpointBytes, for: output)
        }
        try requireMemory(recipe)
        let budget = ComputeBudget.current
        defer { budget.apply() }
        TrainingThreads.share(recipe.threads)
        TrainingPhase.begin("opening the footage")
        // Before anything is written, so that after an error the same folder can be used again.
        let clips = try ClipMix(recipe.data, root: root, seed: recipe.seed)
        let start = try recipe.start.map { try StartModel($0, for: recipe) }
        do {
            let trainer = Trainer(
                recipe: recipe,
                folder: try folder(output, recipe, resume: resume, ranks, RunOwner(world)),
                clips: clips,
                device: device,
                stop: stop,
                start: start,
                ranks: ranks
            )
            let vae = try trainer.autoencoder(onProgress)
            try trainer.transformer(vae, onProgress)
            try trainer.decoder(of: vae, onProgress)
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? output, error)
        } catch let error as SwanError where error.code == .invalidArgument {
            // Each size is valid on its own; only an operator noticed that they are incompatible.
            throw SwanError(
                .invalidRecipe,
                "the recipe's sizes are incompatible: \(error.message)"
            )
        }
    }

    /// Opens the output folder: on the first rank, which makes it, and then on the others.
    private static func folder(
        _ output: String,
        _ recipe: Recipe,
        resume: Bool,
        _ ranks: TrainingRanks?,
        _ owner: RunOwner?
    ) throws -> TrainingFolder {
        func open() throws -> TrainingFolder {
            try TrainingFolder(
                output,
                recipe: recipe,
                resume: resume,
                isWriter: ranks?.isFirst ?? true,
                owner: owner
            )
        }
        guard let ranks else { return try open() }
        try ranks.requireShared(output)
        return try ranks.inTurn(open)
    }

    private static func requireMemory(_ recipe: Recipe) throws(SwanError) {
        let least = recipe.leastCheckpointBytes
        if AddressSpace.free != nil {
            try AddressSpace.require(
                AddressSpaceNeeds.engine + 4 * least,
                "free memory or raise the limit; a smaller batch or size needs less"
            )
        }
        // On a GPU, the networks are elsewhere, but they are saved from here.
        guard least <= ProcessFacts.availableMemoryBytes ?? .max else {
            throw SwanError(
                .outOfMemory,
                "out of memory: the networks of the recipe and their optimizer need at least "
                    + "\(least / 1_000_000) MB; free memory, or make the networks smaller"
            )
        }
    }

    // MARK: - Stages

    private func autoencoder(
        _ onProgress: (TrainingProgress) -> Void
    ) throws -> TrainedAutoencoder {
        if let done = try folder.autoencoder(on: device) { return done }
        let config = recipe.vae.model
        if let start {
            let (weights, measured) = try start.autoencoder()
            let moved = try weights.mapValues { try $0.to(device) }
            return try finished(moved, measured, keepsNormalization: true)
        }
        let method = AutoencoderMethod(recipe, clips)
        let state = try loop("vae", method, steps: recipe.vae.training.steps).run(
            from: {
                let weights = try LinearCode.weights(
                    config,
                    clips: clips,
                    seed: recipe.seed,
                    steps: recipe.vae.training.linearSteps,
                    threads: recipe.threads,
                    on: device,
                    onProgress: onProgress
                )
                return [method.trainedRole: weights]
            },
            onProgress: onProgress
        )
        let weights = state.averages[method.trainedRole]
        return try finished(weights, config, keepsNormalization: false)
    }

    private func loop<M: Method>(
        _ stage: String,
        _ method: M,
        steps: Int
    ) throws -> TrainingLoop<M> {
        TrainingLoop(
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
            record: folder.record(stage, recipe.sampling),
            ranks: ranks
        )
    }

    /// Trains the decoder longer if the recipe asks for it.
    ///
    /// The encoder and the statistics of its latents stay fixed, since the transformer was trained
    /// on them.
    private func decoder(
        of vae: TrainedAutoencoder,
        _ onProgress: (TrainingProgress) -> Void
    ) throws {
        let steps = recipe.vae.training.decoderSteps ?? 0
        guard steps > 0, start == nil else { return }
        func isDecoders(_ key: String) -> Bool {
            key.hasPrefix("decoder.") || key.hasPrefix("conv2.")
        }
        var method = AutoencoderMethod(recipe, clips)
        // Clips that were not used before.
        method.firstClip =
            recipe.vae.training.steps * (recipe.vae.optimizer.microBatches ?? 1)
            * recipe.vae.training.batch
        method.fixed = vae.weights.filter { !isDecoders($0.key) }
        let state = try loop("decoder", method, steps: steps).run(
            from: { [method.trainedRole: vae.weights.filter { isDecoders($0.key) }] },
            onProgress: onProgress
        )
        let done = TrainedAutoencoder(
            weights: method.whole(state.averages),
            config: vae.config,
            channelWeights: vae.channelWeights
        )
        try folder.save(done)
    }

    /// Measures an autoencoder's latents and saves the autoencoder to the model's folder.
    private func finished(
        _ weights: [String: Tensor],
        _ config: WanVAEConfig,
        keepsNormalization: Bool
    ) throws -> TrainedAutoencoder {
        let statistics = try LatentStatistics.measured(
            weights,
            config,
            keepsNormalization: keepsNormalization,
            over: LatentStatistics.Clips(
                source: clips,
                count: 64,
                size: recipe.vae.training.size,
                firstIndex: 1 << 40
            ),
            seed: recipe.seed
        )
        var config = config
        config.latentsMean = statistics.mean
        config.latentsStd = statistics.std
        let done = TrainedAutoencoder(
            weights: weights,
            config: config,
            channelWeights: statistics.weights
        )
        try folder.save(done)
        return done
    }

    private func transformer(
        _ vae: TrainedAutoencoder,
        _ onProgress: (TrainingProgress) -> Void
    ) throws {
        let prompts = PromptGenerator(styles: recipe.styles, seed: recipe.seed)
        func makeTokenizer() throws -> Tokenizer {
            try folder.tokenizer {
                try start?.tokenizer()
                    ?? TokenizerTrainer.train(
                        sentences: prompts.corpus(count: recipe.text.sentences),
                        vocabularySize: recipe.text.model.vocabulary
                    )
            }
        }
        let tokenizer = try ranks?.inTurn(makeTokenizer) ?? makeTokenizer()
        let first = try firstWeights(prompts, tokenizer, onProgress)
        let method = try streamMethod(vae, prompts, tokenizer)
        let state = try loop("transformer", method, steps: method.steps)
            .run(from: { [StreamMethod.trainedRole: first] }, onProgress: onProgress)
        try folder.saveTransformer(state.averages[StreamMethod.trainedRole], of: recipe)
    }

    private func streamMethod(
        _ vae: TrainedAutoencoder,
        _ prompts: PromptGenerator,
        _ tokenizer: Tokenizer
    ) throws -> StreamMethod {
        let stage = recipe.transformer
        let codec = try LatentCodec(vae.weights, vae.config)
        let pools = stage.phases.indices.map { index in
            LatentPool(
                ClipEncoder(
                    clips: clips,
                    styles: recipe.styles,
                    codec: codec,
                    options: stage.training,
                    size: stage.phases[index].size,
                    firstIndex: UInt64(index + 2) << 40,
                    seed: recipe.seed,
                    turns: DispatchSemaphore(value: device.stepThreads(of: recipe.threads))
                ),
                phase: stage.phases[index],
                threads: device.poolThreads(besides: recipe.threads),
                // Ranks stop together, after a step.
                stop: ranks == nil ? stop : CancellationFlag()
            )
        }
        return StreamMethod(
            transformer: stage.model,
            textEncoder: recipe.text.model,
            options: stage.training,
            optimizer: stage.optimizer,
            phases: stage.phases,
            styles: recipe.styles,
            prompts: prompts,
            tokenizer: tokenizer,
            channelWeights: try Tensor(
                vae.channelWeights.map(Float.init),
                [vae.channelWeights.count]
            ),
            seed: recipe.seed,
            pools: pools,
            samples: recipe.sampling.clips,
            sequence: try ranks?.sequenceParallel(headCount: stage.model.heads)
        )
    }

    /// Returns the initial weights of the transformer and text encoder.
    private func firstWeights(
        _ prompts: PromptGenerator,
        _ tokenizer: Tokenizer,
        _ onProgress: (TrainingProgress) -> Void
    ) throws -> [String: Tensor] {
        let transformer =
            try start?.transformer()
            ?? Initialization.transformer(recipe.transformer.model, seed: recipe.seed)
        let encoder = try textEncoder(prompts, tokenizer, onProgress)
        return Dictionary(
            uniqueKeysWithValues: transformer.map { ("transformer." + $0, $1) }
                + encoder.map { ("text_encoder." + $0, $1) }
        )
    }

    /// Returns the text encoder, pretrained to recognize the style of each prompt.
    private func textEncoder(
        _ prompts: PromptGenerator,
        _ tokenizer: Tokenizer,
        _ onProgress: (TrainingProgress) -> Void
    ) throws -> [String: Tensor] {
        let first =
            try start?.textEncoder()
            ?? Initialization.textEncoder(recipe.text.model, seed: recipe.seed)
        let known = start?.styles ?? []
        guard recipe.styles.contains(where: { !known.contains($0.name) }) else { return first }
        var options = recipe.transformer.optimizer
        options.learningRate = recipe.text.learningRate ?? options.learningRate
        let method = TextEncoderMethod(
            config: recipe.text.model,
            optimizer: options,
            styles: recipe.styles,
            prompts: prompts,
            tokenizer: tokenizer,
            maximumTokens: recipe.transformer.model.textLen,
            batch: recipe.text.batch,
            seed: recipe.seed,
            teacher: try start.map { start in
                TextEncoderMethod.Teacher(
                    weights: try first.mapValues { try $0.to(device) },
                    styles: start.styles
                )
            }
        )
        let state = try loop("text", method, steps: recipe.text.steps).run(
            from: { [TextEncoderMethod.trainedRole: first] },
            onProgress: onProgress
        )
        return state.networks[TextEncoderMethod.trainedRole]?.weights ?? [:]
    }
}
