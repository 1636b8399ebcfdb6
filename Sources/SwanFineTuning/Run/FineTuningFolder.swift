import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// The output folder of a fine-tuning: its settings, checkpoints, events and samples, and at the
/// end the LoRA, or the model.
struct FineTuningFolder {
    private static let kind = RunFolder.Kind(
        settingsName: "fine-tuning.yaml",
        name: "a fine-tuning"
    )

    private let run: RunFolder
    var url: URL { run.url }

    /// Creates the folder, or opens that of an earlier run with the same settings if `resume`.
    ///
    /// - Parameters:
    ///   - isWriter: Whether this process writes the folder.
    ///   - owner: The job, which continues what it has begun even without `resume`.
    init(
        _ path: String,
        _ file: FineTuning.File,
        resume: Bool,
        isWriter: Bool,
        owner: RunOwner? = nil
    ) throws {
        run = try RunFolder(
            path,
            Self.kind,
            text: file.text,
            resume: resume,
            isWriter: isWriter,
            owner: owner
        ) { try file.settings.requireSame(as: FineTuning.File.settings(at: $0), in: $0) }
    }

    /// Throws if a run cannot use a folder. Writes nothing.
    static func check(_ path: String, _ file: FineTuning.File, resume: Bool) throws {
        try RunFolder.check(path, kind, resume: resume) {
            try file.settings.requireSame(as: FineTuning.File.settings(at: $0), in: $0)
        }
    }

    /// A path in the folder.
    func path(_ name: String) -> String { run.path(name) }

    /// Where checkpoints are written.
    func saving(_ stage: String, _ settings: FineTuningSettings) throws -> CheckpointSaving {
        try run.saving(
            stage,
            everySteps: settings.saveEvery,
            kept: settings.kept,
            metadata: ["format": "pt", "seed": String(settings.seed)]
        )
    }

    /// The name of a LoRA's file for a role.
    static func loraName(_ role: String, step: Int? = nil) -> String {
        let expert = role == TunedModel.role ? "" : "-" + role.replacing("_", with: "-")
        return "lora\(expert)\(step.map { "-\($0)" } ?? "").safetensors"
    }

    /// The files of a model that say how it is run.
    private static let smallFiles = [
        "stream.yaml", "generate.yaml", "recipe.yaml", "model_index.json",
        "scheduler/scheduler_config.json",
    ]

    /// Writes all weights of the transformers, and links to the other parts of the model.
    func write(
        _ weights: Networks,
        _ model: TunedModel,
        _ settings: FineTuningSettings
    ) throws {
        guard run.isWritten else { return }
        let writer = ModelFolderWriter(
            url.path,
            metadata: ["format": "pt"].merging(settings.name.map { ["name": $0] } ?? [:]) { $1 }
        )
        let isCausal = model.folder.isCausal
        for expert in model.experts {
            try writer.write(
                weights[expert.role],
                config: model.config,
                class: isCausal ? "CausalWanModel" : "WanModel",
                as: expert.part
            )
        }
        let written = Set(model.experts.map(\.part))
        do {
            for part in ModelFolder.Part.allCases where !written.contains(part) {
                if let files = model.folder.parts[part] { try writer.link(files, as: part) }
            }
            for name in Self.smallFiles {
                guard let file = model.folder.file(name) else { continue }
                try writer.link(file, named: name)
            }
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? url.path, error)
        }
    }
}
