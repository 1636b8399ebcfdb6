import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
package import SwanThreads
package import SwanTraining
package import Torch
import TorchNN

/// Trains a LoRA for a restyling model from a recipe, by the method that trained the model.
///
/// The output folder holds `lora.safetensors`, which names the look and its exact filters in its
/// metadata. A run killed at any moment resumes from its last checkpoint.
package struct StyleLoRATrainer {
    /// The name of the LoRA's file in the output folder.
    package static let fileName = "lora.safetensors"

    private let recipe: StyleLoRARecipe
    private let folder: TrainingFolder
    private let output: URL
    private let device: Device
    private let stop: CancellationFlag
    private let clips: ClipMix
    private let base: Recipe
    private let start: StartModel

    /// Trains `recipe` into the folder `output`.
    ///
    /// - Parameters:
    ///   - root: The folder that the recipe's paths are relative to.
    ///   - resume: Continues the run in `output`; if false, `output` must not contain a run.
    ///   - stop: Ends the run early, which then throws `SwanError.Code.interrupted`.
    ///   - onProgress: Called every few seconds.
    package static func run(
        recipe: StyleLoRARecipe,
        root: String = ".",
        output: String,
        resume: Bool = false,
        device: Device = .cpu,
        stop: CancellationFlag = CancellationFlag(),
        onProgress: (TrainingProgress) -> Void = { _ in }
    ) throws {
        let budget = ComputeBudget.current
        defer { budget.apply() }
        TrainingThreads.share(recipe.threads)
        let path = ModelLocation.path(recipe.start)
        let base = try Recipe(contentsOf: path + "/recipe.yaml")
        let start = try StartModel(recipe.start, for: base)
        TrainingPhase.begin("opening the footage")
        let clips = try ClipMix(recipe.data, root: root, seed: recipe.seed)
        do {
            let trainer = StyleLoRATrainer(
                recipe: recipe,
                folder: try TrainingFolder(output, recipe: recipe, resume: resume),
                output: URL(fileURLWithPath: output, isDirectory: true),
                device: device,
                stop: stop,
                clips: clips,
                base: base,
                start: start
            )
            try trainer.train(onProgress)
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? output, error)
        }
    }

    private func train(_ onProgress: (TrainingProgress) -> Void) throws {
        TrainingPhase.begin("reading the model")
        let weights = try start.transformer().mapValues { try $0.to(device) }
        let layers = try LoRALayers(
            of: DictionaryWeights(weights),
            targets: recipe.lora.targets,
            rank: recipe.lora.rank,
            alpha: recipe.lora.alpha
        )
        let method = try method(StreamMethod.LoRA(layers: layers, transformer: weights))
        let loop = TrainingLoop(
            "lora",
            steps: method.steps,
            method: method,
            saving: CheckpointSaving(
                try folder.checkpoints("lora", recipe.checkpoints),
                recipe.checkpoints,
                metadata: folder.metadata
            ),
            device: device,
            stop: stop,
            threads: recipe.threads,
            record: folder.record("lora", recipe.samples ?? SampleOptions())
        )
        let state = try loop.run(
            from: { [StreamMethod.trainedRole: try layers.start(seed: recipe.seed)] },
            onProgress: onProgress
        )
        try write(state.averages[StreamMethod.trainedRole], layers)
    }

    private func write(_ leaves: [String: Tensor], _ layers: LoRALayers) throws {
        try layers.write(
            leaves,
            as: recipe.lora.format,
            metadata: [
                Style.loraKey: try recipe.look.loraText(), "ss_output_name": recipe.name,
                "license": recipe.license,
            ],
            to: output.appending(path: Self.fileName).path
        )
    }

    /// The method of the model's own training, for one look and a LoRA.
    private func method(_ lora: StreamMethod.LoRA) throws -> StreamMethod {
        TrainingPhase.begin("measuring the latents of the footage")
        let (vae, config) = try start.autoencoder()
        let codec = try LatentCodec(vae, config)
        let statistics = try LatentStatistics.measured(
            vae,
            config,
            keepsNormalization: true,
            over: LatentStatistics.Clips(
                source: clips,
                count: 16,
                size: recipe.phases.map(\.size).min() ?? base.vae.training.size,
                firstIndex: 1 << 40
            ),
            seed: recipe.seed
        )
        var lora = lora
        lora.textEncoder = try start.textEncoder().mapValues { try $0.to(device) }
        let options = base.transformer.training
        return StreamMethod(
            transformer: base.transformer.model,
            textEncoder: base.text.model,
            options: options,
            optimizer: recipe.optimizer,
            phases: recipe.phases,
            styles: [recipe.look],
            prompts: PromptGenerator(styles: base.styles, seed: recipe.seed),
            tokenizer: try folder.tokenizer { try start.tokenizer() },
            channelWeights: try Tensor(
                statistics.weights.map(Float.init),
                [statistics.weights.count]
            ),
            seed: recipe.seed,
            pools: pools(codec, options),
            samples: recipe.samples?.clips ?? SampleOptions().clips,
            lora: lora
        )
    }

    private func pools(_ codec: LatentCodec, _ options: StreamTrainingOptions) -> [LatentPool] {
        recipe.phases.indices.map { index in
            LatentPool(
                ClipEncoder(
                    clips: clips,
                    styles: [recipe.look],
                    codec: codec,
                    options: options,
                    size: recipe.phases[index].size,
                    firstIndex: UInt64(index + 2) << 40,
                    seed: recipe.seed,
                    turns: DispatchSemaphore(value: device.stepThreads(of: recipe.threads))
                ),
                phase: recipe.phases[index],
                threads: device.poolThreads(besides: recipe.threads),
                stop: stop
            )
        }
    }
}
