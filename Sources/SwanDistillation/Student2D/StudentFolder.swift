import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// The output folder of a student: its settings, caches, checkpoints and events, and at the end the
/// student.
struct StudentFolder {
    /// The name of the copy of the settings, whose presence says that the folder has a run.
    static let settingsName = "student.yaml"

    let url: URL
    private let lock: FolderLock?

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
        url = URL(fileURLWithPath: path, isDirectory: true)
        let copy = url.appending(path: Self.settingsName).path
        let isBegun = FileManager.default.fileExists(atPath: copy)
        guard isWriter else {
            lock = nil
            return
        }
        guard resume || !isBegun || owner?.continues(path) == true else {
            throw SwanError(
                .cannotWrite,
                "\(path): contains a training run; continue it with --resume, or use another folder"
            )
        }
        if isBegun {
            try file.settings.requireSame(as: Self.settings(at: copy), in: copy)
        } else if let name = Folder.names(in: path).sorted().first(where: { !$0.hasPrefix(".") }) {
            throw SwanError(
                .cannotWrite,
                "\(path): contains \(name.printable()) but no \(Self.settingsName), so it is not "
                    + "the run of a student; use another folder"
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

    private static func settings(at path: String) throws(SwanError) -> StudentSettings {
        do {
            return try StudentSettings(yaml: SmallFile.text(path))
        } catch {
            throw SwanError(error.code, "\(path): \(error.message)", cause: error)
        }
    }

    /// Where checkpoints are written.
    func saving(_ stage: String, _ settings: StudentSettings) throws -> CheckpointSaving {
        CheckpointSaving(
            try Checkpoints(folder: url.appending(path: "checkpoints"), stage: stage, kept: 2),
            CheckpointSchedule(
                everySteps: settings.checkpointSteps,
                everyMinutes: .infinity,
                kept: 2
            ),
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
        guard lock != nil else { return }
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
