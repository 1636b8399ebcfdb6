import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// The output folder of a student: its settings, caches, checkpoints and events, and at the end the
/// student.
struct StudentFolder {
    private static let kind = RunFolder.Kind(
        settingsName: "student.yaml",
        name: "the run of a student"
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
        _ file: StudentSettings.File,
        resume: Bool,
        isWriter: Bool,
        owner: RunOwner?
    ) throws {
        run = try RunFolder(
            path,
            Self.kind,
            text: file.text,
            resume: resume,
            isWriter: isWriter,
            owner: owner
        ) { try file.settings.requireSame(as: Self.settings(at: $0), in: $0) }
    }

    /// Throws if a run cannot use a folder. Writes nothing.
    static func check(_ path: String, _ file: StudentSettings.File, resume: Bool) throws {
        try RunFolder.check(path, kind, resume: resume) {
            try file.settings.requireSame(as: settings(at: $0), in: $0)
        }
    }

    private static func settings(at path: String) throws(SwanError) -> StudentSettings {
        do {
            return try StudentSettings(yaml: SmallFile.text(path))
        } catch {
            throw SwanError(error.code, "\(path): \(error.message)", cause: error)
        }
    }

    /// Where checkpoints are written.
    func saving(_ stage: String, _ settings: StudentSettings) throws -> CheckpointSaving {
        try run.saving(
            stage,
            everySteps: settings.checkpointSteps,
            kept: 2,
            metadata: metadata(settings)
        )
    }

    private func metadata(_ settings: StudentSettings) -> [String: String] {
        ["format": "pt", "seed": String(settings.seed)]
    }

    /// Writes the student, and links to the other parts of its teacher.
    func write(
        _ weights: [String: Tensor],
        lift: Tensor?,
        _ settings: StudentSettings,
        _ sampling: StudentSampling,
        from teacher: ModelFolder
    ) throws {
        guard run.isWritten else { return }
        do {
            let writer = ModelFolderWriter(url.path, metadata: metadata(settings))
            for part in [ModelFolder.Part.vae, .textEncoder, .tokenizer] {
                if let files = teacher.parts[part] { try writer.link(files, as: part) }
            }
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? url.path, error)
        }
        try LiteStudentFolder.write(
            weights,
            lift: lift,
            settings.student,
            sampling,
            metadata: metadata(settings),
            to: url.path
        )
    }
}

extension StudentSettings {
    /// Throws an error if settings differ from those that a run began with, except in what may
    /// change.
    func requireSame(as begun: StudentSettings, in place: String) throws(SwanError) {
        var now = self
        (now.steps, now.epochs) = (begun.steps, begun.epochs)
        (now.drawsSamples, now.sampleFolder) = (begun.drawsSamples, begun.sampleFolder)
        (now.samplePrompts, now.sampleInterval) = (begun.samplePrompts, begun.sampleInterval)
        (now.checkpointSteps, now.cachePath) = (begun.checkpointSteps, begun.cachePath)
        (now.strategy, now.notes) = (begun.strategy, begun.notes)
        guard now == begun else {
            throw SwanError(
                .invalidRecipe,
                "the settings differ from those that the run began with, in \(place): continue "
                    + "with that file, or use another folder (keys that may change: num_steps, "
                    + "num_epochs, save_samples, sample_dir, sample_prompts, sample_interval, "
                    + "checkpoint_steps, cache_path, teacher_device_strategy)"
            )
        }
    }
}
