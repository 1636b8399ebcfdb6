package import Foundation
package import SwanDistributed
import SwanSystem
package import Torch

/// The output folder of a run whose settings are a file: a copy of it, checkpoints and events.
package struct RunFolder {
    /// What kind of run a folder has.
    package struct Kind: Sendable {
        /// The name of the copy of the settings, whose presence says that a folder has such a run.
        package let settingsName: String
        /// What messages call it, such as "a distillation".
        package let name: String

        /// Describes a kind.
        package init(settingsName: String, name: String) {
            (self.settingsName, self.name) = (settingsName, name)
        }
    }

    /// Where it is.
    package let url: URL
    /// Whether this process writes it.
    package var isWritten: Bool { lock != nil }
    private let lock: FolderLock?

    /// Creates the folder, or opens that of an earlier run if `resume`.
    ///
    /// - Parameters:
    ///   - text: The settings' file.
    ///   - isWriter: Whether this process writes the folder.
    ///   - owner: The job, which continues what it has begun even without `resume`.
    ///   - requireSame: Throws if settings differ from those in a copy.
    package init(
        _ path: String,
        _ kind: Kind,
        text: String,
        resume: Bool,
        isWriter: Bool,
        owner: RunOwner?,
        requireSame: (_ copy: String) throws -> Void
    ) throws {
        url = URL(fileURLWithPath: path, isDirectory: true)
        guard isWriter else {
            lock = nil
            return
        }
        let copy = url.appending(path: kind.settingsName).path
        let isBegun = try Self.check(
            path,
            kind,
            resume: resume,
            owner: owner,
            requireSame: requireSame
        )
        do {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            lock = try FolderLock(path)
            try owner?.sign(path)
            if isBegun {
                try lock?.removePartialFiles()
            } else {
                try OutputPath.write(text.utf8, to: copy)
            }
        } catch let error as CocoaError {
            throw SwanError(writing: path, error)
        }
    }

    /// Throws if a run cannot use the folder; returns whether it has begun there. Writes nothing.
    @discardableResult
    package static func check(
        _ path: String,
        _ kind: Kind,
        resume: Bool,
        owner: RunOwner? = nil,
        requireSame: (_ copy: String) throws -> Void
    ) throws -> Bool {
        let copy = path + "/" + kind.settingsName
        let isBegun = FileManager.default.fileExists(atPath: copy)
        guard resume || !isBegun || owner?.continues(path) == true else {
            throw SwanError(
                .cannotWrite,
                "\(path): contains a training run; continue it with --resume, or use another folder"
            )
        }
        if isBegun {
            try requireSame(copy)
        } else if let name = Folder.names(in: path).sorted().first(where: { !$0.hasPrefix(".") }) {
            throw SwanError(
                .cannotWrite,
                "\(path): contains \(name.printable()) but no \(kind.settingsName), so it is not "
                    + "\(kind.name); use another folder"
            )
        }
        return isBegun
    }

    /// A path in the folder.
    package func path(_ name: String) -> String { url.appending(path: name).path }

    /// Where a stage's checkpoints are written.
    ///
    /// - Parameters:
    ///   - metadata: Text that is added to every checkpoint.
    ///   - export: Writes weights for other programs with every checkpoint.
    package func saving(
        _ stage: String,
        everySteps: Int,
        kept: Int,
        metadata: [String: String],
        export: WeightExport? = nil
    ) throws -> CheckpointSaving {
        CheckpointSaving(
            try Checkpoints(folder: url.appending(path: "checkpoints"), stage: stage, kept: kept),
            CheckpointSchedule(everySteps: everySteps, everyMinutes: .infinity, kept: kept),
            metadata: metadata,
            export: export
        )
    }
}

/// What a run of settings is besides them.
package struct RunOptions: Sendable {
    /// The folder that the settings' paths are relative to.
    package var root = "."
    /// The output folder.
    package var output: String
    /// Whether to continue the run in `output`; if false, it must not contain one, except one that
    /// this job had begun before its launcher restarted it.
    package var resume = false
    /// Whether checkpoints are written.
    package var saves = true
    /// Whether samples are made that show how training goes.
    package var draws = true
    /// The number of steps; nil for that of the settings.
    package var maximumSteps: Int?
    /// The device to train on.
    package var device = Device.cpu
    /// The threads of an operator.
    package var threads = ComputeBudget.current.threads
    /// How ranks keep the weights that a full fine-tuning learns.
    package var sharding = Sharding.none

    /// Creates options with an output folder.
    package init(output: String) { self.output = output }
}
