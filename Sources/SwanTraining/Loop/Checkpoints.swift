package import Foundation
import Torch
import SwanSystem

/// The most recent checkpoints of one stage. Files are written atomically.
///
/// A file contains, for each trained role, `<role>/weights/<key>`, `<role>/averages/<key>`,
/// `<role>/first_moments/<key>` and `<role>/second_moments/<key>`, and `carry/<name>`. Its metadata
/// contains `step`, `stage`, `updates.<role>` for each trained role, `skipped.<role>` if updates were
/// skipped, and in `frozen` the names of the frozen roles. Ranks write `CheckpointParts` instead of tensors.
package struct Checkpoints {
    private let folder: URL
    private let stage: String
    private let kept: Int

    /// Opens the checkpoints of `stage` in a folder, which is created if it does not exist.
    package init(folder: URL, stage: String, kept: Int) throws {
        self.folder = folder.appending(path: stage)
        self.stage = stage
        self.kept = kept
        try FileManager.default.createDirectory(
            at: self.folder,
            withIntermediateDirectories: true
        )
    }

    /// Opens the checkpoint after a step, whether it is in one file or in parts, and verifies its
    /// checksums.
    package func file(_ step: Int) throws -> any CheckpointFile {
        let file = try SummedFile.open(path(step), remedy: "use another checkpoint")
        return try CheckpointParts(file, remedy: "use another checkpoint") ?? file
    }

    /// Writes the state and removes the oldest checkpoints. All ranks of a plan call this.
    ///
    /// Each rank writes a part; when all are complete, the first one writes the checkpoint's own
    /// file, which lists them.
    func save(
        _ state: TrainingState,
        _ roles: [Role],
        metadata: [String: String],
        _ plan: MicroBatchPlan = MicroBatchPlan(parts: 1)
    ) throws {
        var metadata = metadata
        for (role, network) in state.networks {
            metadata["updates.\(role)"] = String(network.updates)
            metadata["skipped.\(role)"] = network.skipped.text
        }
        metadata["frozen"] = CheckpointRoles(roles).frozenText
        metadata["step"] = String(state.step)
        metadata["stage"] = stage
        if let ranks = plan.ranks {
            let parts = try CheckpointParts.write(
                state,
                plan,
                ranks,
                to: path(state.step),
                metadata: ["step": String(state.step), "stage": stage]
            )
            guard ranks.isFirst else { return }
            metadata[CheckpointParts.key] = parts
            try SummedFile.write([:], metadata: metadata, to: path(state.step))
        } else {
            var tensors: [String: Tensor] = [:]
            for item in state.items { tensors[item.name] = item.tensor }
            for (key, tensor) in state.carry { tensors["carry/\(key)"] = tensor }
            try SummedFile.write(tensors, metadata: metadata, to: path(state.step))
        }
        for step in try steps().dropLast(kept) {
            try FileManager.default.removeItem(atPath: path(step))
        }
        try removeLooseParts()
    }

    /// Removes the parts of checkpoints that were removed or never completed.
    private func removeLooseParts() throws {
        let complete = try Set(steps().map { CheckpointParts.prefix(of: path($0)) })
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            let path = folder.appending(path: name).path
            guard let prefix = CheckpointParts.prefix(ofPart: path), !complete.contains(prefix)
            else { continue }
            try FileManager.default.removeItem(atPath: path)
        }
    }

    /// Loads the newest complete checkpoint; returns nil if there are no checkpoints.
    ///
    /// A file truncated by a full disk or an interrupted copy is skipped in favor of an older one.
    /// It is an error if none of the files can be read, or if the contents of one have changed.
    /// Any number of ranks can load what another number has saved; each gets what the plan gives it.
    func newest(
        _ roles: [Role],
        on device: Device = .cpu,
        _ plan: MicroBatchPlan = MicroBatchPlan(parts: 1)
    ) throws -> TrainingState? {
        let found = try newestHere(roles, on: device, plan)
        try plan.ranks?.requireSame(
            "the newest checkpoint of the stage '\(stage)'",
            found.map { "step \($0.step)" } ?? "none",
            remedy: "all ranks need the same output folder, on a shared file system"
        )
        return found
    }

    private func newestHere(
        _ roles: [Role],
        on device: Device,
        _ plan: MicroBatchPlan
    ) throws -> TrainingState? {
        let steps = try steps()
        for (index, step) in steps.enumerated().reversed() {
            let remedy = remedy(older: steps[..<index])
            let file: any CheckpointFile
            do {
                let own = try SummedFile.open(path(step), remedy: remedy)
                file = try CheckpointParts(own, remedy: remedy) ?? own
            } catch let error as SwanError where error.code == .invalidFile {
                guard index == 0 else { continue }
                throw SwanError(.invalidData, "\(error.message); \(remedy)", cause: error)
            }
            return try state(file, step, CheckpointRoles(roles), device, plan)
        }
        return nil
    }

    private func remedy(older: ArraySlice<Int>) -> String {
        guard let before = older.last else {
            return
                "there is no earlier checkpoint: remove it, and --resume restarts the stage '\(stage)'"
        }
        let name = URL(fileURLWithPath: path(before)).lastPathComponent
        return "remove it, and --resume continues from the previous one, \(name)"
    }

    private func state(
        _ file: any CheckpointFile,
        _ step: Int,
        _ roles: CheckpointRoles,
        _ device: Device,
        _ plan: MicroBatchPlan
    ) throws -> TrainingState {
        guard file.metadata["step"] ?? String(step) == String(step),
            file.metadata["stage"] ?? stage == stage
        else {
            throw SwanError(
                .invalidData,
                "\(file.path): the file name does not match the step and stage of this checkpoint"
            )
        }
        let contents = CheckpointContents(file, device, plan)
        // Checkpoints of older versions have no role prefix for their only network.
        if let role = roles.trained.first, roles.trained.count == 1, contents.hasNoRoles {
            let network = try contents.network("", updates: step)
            return TrainingState(step: step, [role: network], carry: try contents.carry())
        }
        let found = CheckpointRoles(file.metadata)
        guard found == roles else {
            throw SwanError(
                .invalidData,
                "\(file.path): has \(found), but the stage '\(stage)' has \(roles); start over in "
                    + "another folder"
            )
        }
        var networks: [String: TrainedNetwork] = [:]
        for role in roles.trained {
            let updates = file.metadata["updates.\(role)"].flatMap { Int($0) } ?? step
            let skipped = file.metadata["skipped.\(role)"].flatMap(SkippedUpdates.init)
            networks[role] = try contents.network(
                role + "/",
                updates: updates,
                skipped: skipped ?? SkippedUpdates()
            )
        }
        return TrainingState(step: step, networks, carry: try contents.carry())
    }

    private func path(_ step: Int) -> String {
        let digits = String(step)
        let padded = String(repeating: "0", count: max(0, 8 - digits.count)) + digits
        return folder.appending(path: "step-\(padded).safetensors").path
    }

    /// The steps that have a checkpoint, in ascending order.
    private func steps() throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasPrefix("step-") && $0.hasSuffix(".safetensors") }
            .compactMap { Int($0.dropFirst(5).dropLast(12)) }
            .sorted()
    }
}

/// The roles stored in a checkpoint.
private struct CheckpointRoles: Equatable, CustomStringConvertible {
    let trained, frozen: [String]

    init(_ roles: [Role]) {
        trained = roles.filter { $0.training != nil }.map(\.name).sorted()
        frozen = roles.filter { $0.training == nil }.map(\.name).sorted()
    }

    /// Reads the roles from a file's metadata.
    init(_ metadata: [String: String]) {
        trained = metadata.keys.filter { $0.hasPrefix("updates.") }
            .map { String($0.dropFirst("updates.".count)) }.sorted()
        frozen = metadata["frozen"]?.split(separator: " ").map(String.init) ?? []
    }

    /// The value of the `frozen` key; nil if there are no frozen roles.
    var frozenText: String? { frozen.isEmpty ? nil : frozen.joined(separator: " ") }

    var description: String {
        func list(_ names: [String]) -> String {
            names.isEmpty ? "none" : names.map { $0.printable() }.joined(separator: ", ")
        }
        return "trained networks \(list(trained)) and frozen networks \(list(frozen))"
    }
}
