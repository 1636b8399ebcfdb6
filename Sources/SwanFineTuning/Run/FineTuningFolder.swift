import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// The output folder of a fine-tuning: its settings, checkpoints, events and samples, and at the
/// end the LoRA, or the model.
struct FineTuningFolder {
    /// The name of the copy of the settings, whose presence says that the folder has a run.
    static let settingsName = "fine-tuning.yaml"

    let url: URL
    private let lock: FolderLock?

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
        url = URL(fileURLWithPath: path, isDirectory: true)
        guard isWriter else {
            lock = nil
            return
        }
        let copy = url.appending(path: Self.settingsName).path
        let isBegun = FileManager.default.fileExists(atPath: copy)
        guard resume || !isBegun || owner?.continues(path) == true else {
            throw SwanError(
                .cannotWrite,
                "\(path): contains a training run; continue it with --resume, or use another folder"
            )
        }
        if isBegun {
            try file.settings.requireSame(as: FineTuning.File.settings(at: copy), in: copy)
        } else if let name = Folder.names(in: path).sorted().first(where: { !$0.hasPrefix(".") }) {
            throw SwanError(
                .cannotWrite,
                "\(path): contains \(name.printable()) but no \(Self.settingsName), so it is not a "
                    + "fine-tuning; use another folder"
            )
        }
        do {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            lock = try FolderLock(path)
            try owner?.sign(path)
            if isBegun {
                try lock?.removePartialFiles()
            } else {
                try OutputPath.write(file.text.utf8, to: copy)
            }
        } catch let error as CocoaError {
            throw SwanError(writing: path, error)
        }
    }

    /// A path in the folder.
    func path(_ name: String) -> String { url.appending(path: name).path }

    /// Where checkpoints are written.
    func saving(_ stage: String, _ settings: FineTuningSettings) throws -> CheckpointSaving {
        CheckpointSaving(
            try Checkpoints(
                folder: url.appending(path: "checkpoints"),
                stage: stage,
                kept: settings.kept
            ),
            CheckpointSchedule(
                everySteps: settings.saveEvery,
                everyMinutes: .infinity,
                kept: settings.kept
            ),
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
        guard lock != nil else { return }
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
