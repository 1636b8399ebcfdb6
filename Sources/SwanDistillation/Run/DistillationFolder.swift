import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// The output folder of a distillation: its settings, checkpoints and events, and at the end the
/// generator as a model.
struct DistillationFolder {
    private static let kind = RunFolder.Kind(
        settingsName: "distillation.yaml",
        name: "a distillation"
    )
    private static let keptCheckpoints = 2

    private let run: RunFolder
    var url: URL { run.url }

    /// Creates the folder, or opens that of an earlier run with the same settings if `resume`.
    ///
    /// - Parameters:
    ///   - text: The settings' file.
    ///   - isWriter: Whether this process writes the folder.
    ///   - owner: The job, which continues what it has begun even without `resume`.
    init(
        _ path: String,
        _ settings: DistillationSettings,
        text: String,
        resume: Bool,
        isWriter: Bool,
        owner: RunOwner? = nil
    ) throws {
        run = try RunFolder(
            path,
            Self.kind,
            text: text,
            resume: resume,
            isWriter: isWriter,
            owner: owner
        ) { try settings.requireSame(as: DistillationSettings(contentsOf: $0), in: $0) }
    }

    /// Throws if a run cannot use a folder. Writes nothing.
    static func check(_ path: String, _ file: DistillationSettings, resume: Bool) throws {
        try RunFolder.check(path, kind, resume: resume) {
            try file.requireSame(as: DistillationSettings(contentsOf: $0), in: $0)
        }
    }

    /// Where a stage's checkpoints are written, every `log_iters` steps.
    func saving(_ stage: String, _ settings: DistillationSettings) throws -> CheckpointSaving {
        try run.saving(
            stage,
            everySteps: settings.logSteps,
            kept: Self.keptCheckpoints,
            metadata: metadata(settings),
            export: ModelArchive(folder: url, kept: Self.keptCheckpoints).export(settings)
        )
    }

    private func metadata(_ settings: DistillationSettings) -> [String: String] {
        ["format": "pt", "seed": String(settings.seed)]
            .merging(settings.name.map { ["name": $0] } ?? [:]) { _, name in name }
    }

    /// Writes the generator, links to the other parts of `model`, and, if it streams, how.
    func write(
        _ generator: [String: Tensor],
        _ config: WanConfig,
        _ settings: DistillationSettings,
        from model: ModelFolder
    ) throws {
        guard run.isWritten else { return }
        let writer = ModelFolderWriter(url.path, metadata: metadata(settings))
        let isCausal = settings.generator == .causalWan
        try writer.write(
            generator,
            config: config,
            class: isCausal ? "CausalWanModel" : "WanModel",
            as: .transformer
        )
        do {
            for part in [ModelFolder.Part.vae, .textEncoder, .tokenizer] {
                if let files = model.parts[part] { try writer.link(files, as: part) }
            }
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? url.path, error)
        }
        guard isCausal else { return }
        let defaults = try GenerationDefaults(model)
        try writer.write(stream(settings, defaults))
        if var defaults {
            // The student has learned what guidance does.
            (defaults.steps, defaults.guidance) = (settings.noisySteps.count, 1)
            defaults.shift = settings.tableShift
            try writer.write(defaults)
        }
    }

    /// How the student streams.
    private func stream(
        _ settings: DistillationSettings,
        _ defaults: GenerationDefaults?
    ) -> StreamConfiguration {
        var stream = StreamConfiguration()
        stream.steps = settings.noisySteps
        stream.shift = settings.tableShift
        stream.warpsSteps = settings.warpsSteps
        stream.framesPerBlock = settings.framesPerBlock
        // A student that saw the whole past keeps as much of it as in training.
        stream.cacheFrames = settings.cacheFrames ?? settings.shape?[1] ?? stream.cacheFrames
        stream.sinkFrames = settings.sinkFrames ?? stream.sinkFrames
        stream.sinkThreshold = settings.sinkThreshold ?? stream.sinkThreshold
        stream.contextNoise = settings.streamContextNoise
        stream.shotFrames = settings.shotFrames
        (stream.width, stream.height) = (defaults?.width, defaults?.height)
        stream.fps = defaults.map { Double($0.framesPerSecond) }
        // Motion lets a stream begin 100 below 1000 times its noise scale.
        stream.noiseScale = min(1, Double((settings.steps.first ?? 1_000) + 100) / 1_000)
        // The data are normalized latents.
        stream.normalizesLatents = true
        return stream
    }
}

extension DistillationSettings {
    /// The steps that take noise away.
    fileprivate var noisySteps: [Int] { steps.last == 0 ? steps.dropLast() : steps }

    /// Throws an error if settings differ from those that a run began with, except in what may
    /// change.
    func requireSame(as begun: DistillationSettings, in place: String) throws(SwanError) {
        var (now, before) = (self, begun)
        for path in [\DistillationSettings.maximumSteps] {
            now[keyPath: path] = nil
            before[keyPath: path] = nil
        }
        now.logSteps = before.logSteps
        now.sharding = before.sharding
        now.textCache = before.textCache
        now.name = before.name
        now.notes = before.notes
        guard now == before else {
            throw SwanError(
                .invalidRecipe,
                "the settings differ from those that the run began with, in \(place): continue "
                    + "with that file, or use another folder (keys that may change: max_steps, "
                    + "log_iters, sharding_strategy, text_cache, wandb_name)"
            )
        }
    }
}
