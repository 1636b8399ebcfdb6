import Foundation
import SwanCheckpoints
import SwanDistillation
package import SwanDistributed
import SwanModels
import SwanSystem
package import SwanThreads
package import SwanTraining
import Torch
import TorchNN

/// A run of a fine-tuning, from its settings to a LoRA or a model.
package struct FineTuning {
    private let settings: FineTuningSettings
    private let options: RunOptions
    private let folder: FineTuningFolder
    private let ranks: TrainingRanks?
    private let stop: CancellationFlag
    private let model: TunedModel
    /// The path of the model, as pipelines open it.
    private let modelPath: String
    private let rankCount: Int

    /// Runs a fine-tuning.
    ///
    /// - Parameters:
    ///   - file: The settings; the output folder keeps a copy of the file.
    ///   - world: The processes that train together; nil for one.
    ///   - stop: Ends the run early, which then throws `SwanError.Code.interrupted`.
    ///   - note: Told what a user should know, such as videos that are left out.
    package static func run(
        _ file: File,
        _ options: RunOptions,
        world: World? = nil,
        stop: CancellationFlag = CancellationFlag(),
        note: @escaping (String) -> Void = { _ in },
        onProgress: (TrainingProgress) -> Void = { _ in }
    ) throws {
        let budget = ComputeBudget.current
        defer { budget.apply() }
        do {
            try FineTuning(file, options, world, stop).run(note, onProgress)
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? options.output, error)
        }
    }

    /// A path of the settings, relative to a root.
    static func path(_ path: String, _ root: String) -> String {
        path.hasPrefix("/") ? path : root + "/" + path
    }

    private init(
        _ file: File,
        _ options: RunOptions,
        _ world: World?,
        _ stop: CancellationFlag
    ) throws {
        settings = file.settings
        self.options = options
        self.stop = stop
        let given = file.settings.model
        let found = ModelLocation.path(given)
        modelPath = found == given ? Self.path(given, options.root) : found
        model = try TunedModel(modelPath, file.settings)
        rankCount = world?.size ?? 1
        guard options.sharding == .none || file.settings.kind == .full else {
            throw SwanError(
                .invalidRequest,
                "--shard: a LoRA is small and kept whole by every process; --shard is for "
                    + "fine_tuning: full"
            )
        }
        let sharding = ParallelOptions(shard: options.sharding)
        ranks = try rankCount > 1 ? world.map { try TrainingRanks($0, sharding) } : nil
        func open(isWriter: Bool) throws -> FineTuningFolder {
            try FineTuningFolder(
                options.output,
                file,
                resume: options.resume,
                isWriter: isWriter,
                owner: RunOwner(world)
            )
        }
        guard let ranks else {
            folder = try open(isWriter: true)
            return
        }
        // All ranks read rows that the first one writes.
        try ranks.requireShared(options.output)
        try ranks.requireSame(
            "the fine-tuning's file",
            "checksum \(String(Seed.named(file.text), radix: 16))",
            remedy: "start all ranks with the same file and options"
        )
        folder = try ranks.inTurn { try open(isWriter: ranks.isFirst) }
    }

    private var steps: Int { options.maximumSteps ?? settings.steps }

    private func run(
        _ note: (String) -> Void,
        _ onProgress: (TrainingProgress) -> Void
    ) throws {
        TrainingPhase.begin("reading and encoding the data")
        let data = try TuningData(
            settings,
            model,
            root: options.root,
            cache: settings.cache.map { Self.path($0, options.root) } ?? folder.path("cache"),
            device: options.device,
            ranks: ranks,
            check: checkStop,
            note: note
        )
        let layers = try loraLayers()
        TrainingPhase.begin("reading the model")
        let method = try method(data, layers)
        let loop = TrainingLoop(
            settings.kind.rawValue,
            steps: steps,
            method: method,
            saving: options.saves ? try folder.saving(settings.kind.rawValue, settings) : nil,
            device: options.device,
            stop: stop,
            threads: options.threads,
            record: StageRecord(
                settings.kind.rawValue,
                in: folder.url,
                SampleOptions(
                    everySteps: settings.previews.every,
                    clips: draws || settings.heldOut > 0 ? 1 : 0
                )
            ),
            ranks: ranks
        )
        let state = try loop.run(from: { try start(layers) }, onProgress: onProgress)
        guard ranks?.isFirst ?? true else { return }
        if let layers {
            try TunedFiles(folder, model, settings).write(state.averages, layers)
        } else {
            try folder.write(state.averages, model, settings)
        }
    }

    private var draws: Bool { options.draws && settings.previews.prompts != nil }

    private func checkStop() throws(SwanError) {
        guard stop.isCancelled else { return }
        throw SwanError(
            .interrupted,
            "stopped while videos were encoded; --resume continues with those that are left"
        )
    }

    /// What a LoRA changes in each transformer; nil if all weights are trained.
    private func loraLayers() throws(SwanError) -> [String: LoRALayers]? {
        guard settings.kind == .lora else { return nil }
        var layers: [String: LoRALayers] = [:]
        for expert in model.experts {
            layers[expert.role] = try LoRALayers(
                of: expert.source,
                targets: settings.targets,
                rank: settings.rank,
                alpha: settings.usedAlpha
            )
        }
        return layers
    }

    /// The first weights of the trained roles.
    private func start(_ layers: [String: LoRALayers]?) throws -> [String: [String: Tensor]] {
        var weights: [String: [String: Tensor]] = [:]
        for (index, expert) in model.experts.enumerated() {
            let seed = Seed.mixed(settings.seed, TuningPurpose.leaves.rawValue, UInt64(index))
            weights[expert.role] =
                try layers?[expert.role]?.start(seed: seed) ?? model.weights(expert)
        }
        return weights
    }

    private func method(
        _ data: TuningData,
        _ layers: [String: LoRALayers]?
    ) throws -> FlowTuning {
        let experts = try model.experts.map { expert in
            FlowTuning.Expert(
                role: expert.role,
                range: expert.range,
                lora: try layers?[expert.role].map {
                    ($0, try model.base(expert, settings.base, options.device))
                }
            )
        }
        let batches = TuningBatches(
            rows: data,
            heldOut: data.heldOut,
            noText: data.noText,
            order: BucketOrder(data.groups, size: settings.batch, seed: settings.seed),
            size: settings.batch,
            dropout: settings.promptDropout,
            seed: settings.seed
        )
        return try FlowTuning(
            experts,
            model.config,
            model.task,
            flowOptions,
            optimizer: settings.optimizer(ranks: rankCount),
            heldOut: data.heldOut.isEmpty
                ? nil : HeldOut(data.heldOut.count) { try batches.heldOut($0) },
            draw: try previews(layers)
        ) { try batches.batch($0) }
    }

    private var flowOptions: FlowTuning.Options {
        var flow = FlowTuning.Options()
        flow.sampling = settings.sampling
        flow.sampling.shift = model.shift
        flow.weighting = settings.weighting
        flow.cleanFirstFrame = settings.cleanFirstFrame
        flow.precision = settings.precision
        flow.isRecomputed = settings.checkpointsGradients
        flow.seed = settings.seed
        flow.device = options.device
        return flow
    }

    private func previews(_ layers: [String: LoRALayers]?) throws -> FlowTuning.Draw? {
        guard draws, ranks?.isFirst ?? true else { return nil }
        let files = TunedFiles(folder, model, settings)
        let previews = try Previews(
            settings,
            model: modelPath,
            root: options.root,
            output: folder.path("samples"),
            device: options.device
        )
        return { [folder, model, settings] networks, step in
            if let layers {
                let paths = try files.write(networks, layers, step: step)
                return try previews.draw(step, loras: paths)
            }
            try folder.write(networks, model, settings)
            return try previews.draw(step, model: folder.url.path)
        }
    }
}
